"""The `anachron` command: arguments in, one call of the API, a page of text or JSON out.

To add a command: a function here, named like the command, and a line in COMMANDS.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import anachron.compiler as ac
from anachron.compiler import arguments, fitting_command, report
from anachron.compiler.bench_report import bench_tables
from anachron.compiler.comparison import unavailable
from anachron.compiler.debugging import show_debug
from anachron.compiler.printer import format_model
from anachron.compiler.prompts import encode_prompt, explain_prompt
from anachron.compiler.run import RunError, predict
from anachron.compiler.targets import Absent, find_machine, find_target
from anachron.compiler.tokenizer import Tokenizer

out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


def print_json(value: dict[str, Any]) -> None:
    """The one JSON object on standard output."""
    print(json.dumps(value))


def warn(text: str) -> None:
    """One line to standard error, if there is anything to say."""
    if text:
        err.print(text, style="yellow", markup=False)


def load_fixed(args: argparse.Namespace) -> ac.FixedModel:
    """The model of the command line, quantized; says where random weights stand in."""
    model = ac.load(args.model, tokenizer=args.tokenizer, overrides=arguments.sizes(args))
    if model.weights_from.startswith("random"):
        warn(f"{model.name} has no weights yet: {model.weights_from}")
    with err.status(f"{model.name}: choosing formats ..."):
        return ac.quantize(model, **arguments.numerics(args))


def sampling(args: argparse.Namespace) -> ac.Sampling:
    return ac.Sampling(args.t, args.p, args.s)


def ask_prompt(fixed: ac.FixedModel, args: argparse.Namespace) -> str:
    """The prompt given, or one that suits the model; says what will be changed in it."""
    prompt = args.i
    if prompt is None:
        prompt = "hello" if not fixed.tokenizer.remarks("hello") else known_text(fixed.tokenizer)
        if fixed.generation.mode == "sequence":
            prompt = fixed.tokenizer.decode(
                [int(digit) % fixed.vocab_size for digit in ("31415926535897932384" * 99)]
            )[: fixed.seq_len]
    encode_prompt(fixed, prompt)  # refuses what the model cannot take
    warn(explain_prompt(fixed, prompt))
    return prompt


def known_text(tokenizer: Tokenizer) -> str:
    """A few characters that a vocabulary without words has."""
    return "".join(c for c in sorted(tokenizer.characters) if "!" <= c <= "~")[:3]


def compare(args: argparse.Namespace) -> int:
    """Build for each machine, run, check that the integers agree, print one row a machine."""
    fixed = load_fixed(args)
    machines = arguments.machines(args.on)
    prompt = ask_prompt(fixed, args)
    with err.status("") as status:
        comparison = ac.compare(
            fixed,
            machines,
            prompt,
            args.n,
            sampling(args),
            progress=lambda name: status.update(f"{fixed.name} on {name} ..."),
        )
    if args.json:
        print_json(comparison.as_json(args.logits))
    else:
        out.print(f"{fixed.name}: {prompt!r}\n")
        table = report.compare_table(comparison.runs, comparison.agree)
        out.print(report.fit(table, out.width))
        if comparison.agree:
            out.print(f"\n{report.verdict(comparison.runs)}")
        for one in comparison.runs:
            if one.status == "does_not_fit":
                known = ac.DoesNotFit(one.note, one.bytes_over)
                line = fitting_command.explain(args, one.on.name, known, err)
                out.print(f"\n{line}.", markup=False, soft_wrap=True)
    return 0 if comparison.agree else 1


def build(args: argparse.Namespace) -> int:
    """Write an image and its .map, .lbl and .lst; print the line that runs it elsewhere."""
    path = Path(args.o)
    arguments.check_training(args)
    if args.train:
        from anachron.compiler import training_command

        image: Any = training_command.build_image(args)
    else:
        choices = {"logits": args.logits, "sampling": sampling(args), **arguments.hardware(args)}
        image = ac.build(load_fixed(args), args.on, **choices)
        show_debug(image)
    written = image.save(path)
    if args.json:
        print_json(
            {
                "machine": image.machine.name,
                "model": image.name,
                "image_bytes": image.size_bytes,
                "entry": image.entry,
                "files": [str(p) for p in written],
                "commands": arguments.run_lines(image, path),
            }
        )
        return 0
    out.print(f"{image!r}")
    for line in ("wrote " + ", ".join(map(str, written)), *arguments.run_lines(image, path)):
        indent = "" if line.startswith("wrote") else "  "
        out.print(f"{indent}{line}", markup=False, soft_wrap=True)
    return 0


def run(args: argparse.Namespace) -> int:
    """Generate on one machine; the text goes to standard output as it comes."""
    hardware = arguments.hardware(args)
    fixed = load_fixed(args)
    prompt = ask_prompt(fixed, args)
    if args.streams is not None:
        from anachron.compiler import batch_command

        return batch_command.main(args, fixed, prompt, sampling(args), out, err)
    if args.on == "reference":
        result = ac.run_reference(fixed, prompt, args.n, sampling(args))
        if not args.json:
            out.print(result.text, markup=False)
    else:
        image = None
        try:
            image = ac.build(fixed, args.on, logits=args.logits, **hardware)
            show_debug(image)
            if args.live:
                return arguments.run_live(image, prompt)
            speaker = arguments.Speaker(fixed, quiet=args.json)
            talk = ac.converse(image, args.n, sampling(args), profile=args.profile)
            result = talk.ask(prompt, speaker)
            speaker.end()
        except (Absent, ac.DoesNotFit) as error:
            if args.json:
                answered = ac.run_reference(fixed, prompt, args.n, sampling(args))
                row = unavailable(fixed, args.on, prompt, error, image, answered)
                print_json(row.as_json(args.logits))
            raise
    if args.json:
        print_json(result.as_json(args.logits))
        return 0
    if args.profile and result.image:
        out.print(
            report.cycles_table(result.image, dict(result.predicted_kernels), dict(result.cycles))
        )
    if result.counts:
        each = result.total / result.n_tokens
        whole, name = report.seconds(result.time_ns), result.on.title
        if result.on.counted:
            whole = report.amount(result.on, result.total)
        err.print(
            f"{name}: {report.amount(result.on, each)} a token, {whole} in all, predicted "
            f"{report.deviation(result.total, result.predicted)}",
            style="dim",
        )
    return 0


def chat(args: argparse.Namespace) -> int:
    """A conversation with the program on its machine; ends at end of file."""
    fixed = load_fixed(args)
    if args.on == "reference":
        raise ValueError("chat talks to a program on a machine: choose --on c64 or pdp11/34a")
    image = ac.build(fixed, args.on, **arguments.hardware(args))
    conversation = ac.converse(image, args.n, sampling(args))
    answers: list[dict[str, Any]] = []
    while True:
        try:
            prompt = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            if args.json:
                print_json({"machine": args.on, "model": fixed.name, "answers": answers})
            return 0
        try:
            encode_prompt(fixed, prompt)
        except ValueError as error:
            warn(str(error))
            continue
        warn(explain_prompt(fixed, prompt))
        speaker = arguments.Speaker(fixed, quiet=args.json)
        answer = conversation.ask(prompt, speaker)
        speaker.end()
        answers.append(answer.as_json(args.logits))
        err.print(f"[{report.seconds(answer.time_ns)} on {answer.on.title}]", style="dim")


def train(args: argparse.Namespace) -> int:
    """Train a model's weights and save them."""
    from anachron.compiler import training_command

    return training_command.main(args, out, err)


def cycles(args: argparse.Namespace) -> int:
    """The static prediction per kernel; with --measure the emulator's count beside it."""
    arguments.check_training(args)
    if args.train:
        from anachron.compiler import training_command

        return training_command.cycles(args, out)
    fixed = load_fixed(args)
    prompt = ask_prompt(fixed, args)
    choices = arguments.hardware(args)
    if find_machine(args.on).target == "cuda":  # one kernel for all: how it chooses is told later
        choices["sampling"] = sampling(args)
    image = ac.build(fixed, args.on, logits=args.logits, **choices)
    n_prompt = len(encode_prompt(fixed, prompt))
    room = fixed.seq_len - n_prompt
    passes = n_prompt + (room if args.n is None else min(args.n, room)) - 1
    if fixed.generation.mode == "sequence":
        passes = 1
    measured, absent = None, ""
    answered = ac.run_reference(fixed, prompt, args.n, sampling(args))
    tokens = answered.tokens[:passes]
    if fixed.generation.mode == "sequence":
        tokens = answered.prompt_ids
    elif len(tokens) < passes:
        passes = len(tokens)
    predicted = predict(image, n_prompt, passes, tokens)
    if args.measure:
        try:
            result = ac.converse(image, args.n, sampling(args), profile=True).ask(prompt)
            measured = dict(result.cycles)
        except Absent as error:
            absent = str(error)
    told = find_target(image.machine).tell_estimate(image) if image.machine.gpu else {}
    if args.json:
        rows = report.cycles_rows(predicted, measured)
        known = {"machine": args.on, "model": fixed.name, "passes": passes, "rows": rows, **told}
        print_json({**known, **({"status": "absent", "note": absent} if absent else {})})
    else:
        times = "1 pass" if passes == 1 else f"{passes} passes"
        out.print(f"{fixed.name} on {image.machine.title}: {times} for {prompt!r}\n")
        out.print(report.cycles_table(image, predicted, measured))
        if told:
            out.print(report.estimate_line(told), soft_wrap=True)
        warn(absent and f"not measured: {absent}")
    return 0


def emulate(args: argparse.Namespace) -> int:
    """Run any image; the emulators' own command."""
    from anachron.emulators import command

    return command.main(args.rest)


def fidelity(args: argparse.Namespace) -> int:
    """How often the integers choose what the floats, and the exact integers, choose."""
    model = ac.load(args.model, tokenizer=args.tokenizer, overrides=arguments.sizes(args))
    with err.status(f"{model.name}: every context twice ..."):
        found = ac.measure_fidelity(model, args.texts, args.contexts, **arguments.numerics(args))
    rows = [one.as_json() for one in found]
    if args.json:
        print_json({"model": model.name, "rows": rows})
    else:
        out.print(report.rows_table(report.fidelity_rows(found)))
    return 0


def bench(args: argparse.Namespace) -> int:
    """Measure this machine: emulated MHz and MIPS, cold start, compile time, a GPU."""
    from anachron.compiler import benchmarks

    if args.models and args.what != "cuda":
        raise ValueError(f"--models is for bench cuda, not for bench {args.what}")
    if (args.o or args.budget) and args.what != "cuda":
        raise ValueError(f"-o and --budget are for bench cuda, not for bench {args.what}")
    try:
        if args.what == "cuda":  # it forks: no thread that draws
            tell = partial(err.print, style="dim", markup=False, highlight=False)
            options: dict[str, Any] = {"models": args.models, "tell": tell}
            options |= {"budget": args.budget} if args.budget else {}
            options |= {"keep": partial(benchmarks.write_rows, args.o)} if args.o else {}
            rows = benchmarks.BENCHMARKS[args.what](**options)
        else:
            with err.status(f"bench {args.what} ..."):
                rows = benchmarks.BENCHMARKS[args.what]()
    except Absent as error:
        if args.json:
            print_json({"what": args.what, "status": "absent", "note": str(error), "rows": []})
        raise
    if args.json:
        print_json({"what": args.what, "status": "ok", "rows": rows})
    elif args.what == "cuda":
        out.print(bench_tables(rows))
    else:
        out.print(report.rows_table(rows))
    return 0


def show(args: argparse.Namespace) -> int:
    """Print any stage of the pipeline."""
    found = find_stage(args)
    if args.json:
        told = {"rows": report.rows(found)} if isinstance(found, Table) else {"text": found}
        print_json({"model": args.model, "stage": args.stage, **told})
    elif isinstance(found, Table):
        out.print(report.fit(found, out.width))
    else:
        print(found.rstrip("\n"))
    return 0


def find_stage(args: argparse.Namespace) -> Table | str:
    """A stage of the pipeline, as a table or as text."""
    if args.stage == "model":
        model = ac.load(args.model, tokenizer=args.tokenizer, overrides=arguments.sizes(args))
        return format_model(model)
    fixed = load_fixed(args)
    if args.stage == "fixed":
        return report.fixed_table(fixed)
    image = ac.build(fixed, args.on, logits=args.logits, **arguments.hardware(args))
    match args.stage:
        case "calls":
            return report.calls_table(image)
        case "map":
            return report.map_table(image)
        case "asm":
            return image.source
    return image.program.listing()


COMMANDS = {
    f.__name__: f
    for f in (compare, build, run, chat, train, cycles, fidelity, emulate, bench, show)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all is well, 1 if machines disagree or fail, 2 for a mistake."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["emulate"]:  # its arguments are the emulators' business
        args = argparse.Namespace(command="emulate", rest=argv[1:])
    else:
        args = arguments.parse(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, OverflowError, OSError) as error:
        text = str(error)
        if isinstance(error, ac.DoesNotFit):
            text = fitting_command.explain(args, args.on, error, err)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        err.print(f"anachron: {text}", style="red", markup=False, soft_wrap=True)
        return 2
    except RunError as error:
        err.print(f"anachron: this is a defect: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        err.print("stopped")
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
