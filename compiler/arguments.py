"""The command line's arguments: what may be said, what it is turned into, and the help."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any

from anachron.compiler.comparison import DEFAULT_MACHINES
from anachron.compiler.fitting import MEMORY_STEP
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.numerics import Numerics
from anachron.compiler.report import write_image
from anachron.compiler.targets import FEEDBACK, MACHINES, Options, find_machine
from anachron.emulators import command
from anachron.emulators.pdp11.timing import DEFAULT, TIMINGS

LEAST_MEMORY = 4096  # bytes of a PDP-11
STAGES = ("model", "fixed", "calls", "map", "asm", "listing")
ON_HELP = f"a machine: {', '.join(MACHINES)}"

EPILOG = """\
MODEL is a program's name (reverse, ...), a program text (.model), or a checkpoint (.bin, .npz,
.safetensors; with --tokenizer FILE where it has none inside).

examples:
  anachron compare                          the digit-reversal model on every machine
  anachron compare soul.bin --tokenizer soul_tokenizer.json -i hey -n 16
  anachron run reverse --on c64 -i 31415926
  anachron build reverse --on c64 -o reverse.prg
  anachron cycles reverse --on pdp11/34a --measure
  anachron show reverse --stage asm --on pdp11/34a
  anachron emulate reverse.prg --on c64 --type "31415926\\n" --screen
"""


class Parser(argparse.ArgumentParser):
    """argparse with errors in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"anachron: {message}; see {self.prog} --help\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command."""
    parser = Parser(
        prog="anachron",
        description="One tiny transformer: the same integers on a PDP-11, a C64 and a GPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *groups: Any, model: str | None = "reverse") -> Any:
        command = commands.add_parser(name, help=text, description=text)
        if model:
            count = "?" if name == "compare" else None
            text = "name, .model or checkpoint"
            command.add_argument("model", metavar="MODEL", help=text, nargs=count, default=model)
            add_model(command)
        for group in groups:
            group(command)
        command.add_argument("--json", action="store_true", help="one JSON object, nothing else")
        return command

    add("compare", "one model on every machine, the same integers", add_many, add_generation)
    c = add("build", "write an image, its map, labels and listing", add_one, add_hardware)
    c.add_argument("-o", metavar="FILE", required=True, help=".prg, .d64 or .crt; .lda")
    c.add_argument("--pack", action="store_true", help="a .prg or .d64 that unpacks itself")
    c.add_argument("--train", action="store_true", help="the program that trains the model")
    add_training(c)
    c.add_argument("--logits", action="store_true", help="keep every logit")
    add_sampling(c)
    c.add_argument(
        "--feedback",
        metavar="WORD,...",
        help=f"what a C64 shows and plays as it works: {', '.join(FEEDBACK)} or none "
        f"(default: {', '.join(Options().feedback)})",
    )
    c.add_argument(
        "--screen", action="store_true", help="a C64's stays on as it works, which takes longer"
    )
    c = add("run", "generate on one machine", add_one, add_hardware, add_generation)
    c.add_argument("--profile", action="store_true", help="cycles by kernel")
    c.add_argument("--live", action="store_true", help="show the machine's own screen or console")
    c.add_argument("--streams", metavar="N", type=positive, help="so many at once; ptx, cuda, h200")
    add("chat", "a conversation with a machine", add_one, add_hardware, add_generation)
    c = add("train", "train a model and save its weights", add_one, add_hardware, add_training)
    c.add_argument("--seeds", type=int, help="train this many seeds, report how many converge")
    c.add_argument(
        "--rates", metavar="R,R,...", help="learning rates, say 1/4,1/2: every seed at each of them"
    )
    c.add_argument("--plot", metavar="FILE.png", help="the curves as a picture")
    c.add_argument("-o", metavar="FILE.npz", help="where to save the weights")
    c = add("cycles", "predicted cycles by kernel", add_one, add_hardware, add_generation)
    c.add_argument("--measure", action="store_true", help="and measured ones beside them")
    c.add_argument("--train", action="store_true", help="of a step of the program that trains")
    add_training(c)
    c = add("fidelity", "how often the integers choose what the floats choose")
    c.add_argument("--texts", metavar="FILE", help="lines `question | answer`, or texts")
    c.add_argument(
        "--contexts", metavar="N", type=positive, default=2000, help="at most (default 2000)"
    )
    commands.add_parser("emulate", help="run any .prg, .d64, .crt or .lda image", add_help=False)
    c = add("bench", "measure this machine", model=None)
    c.add_argument("what", choices=("emulators", "compile", "cuda"), help="what to measure")
    c.add_argument(
        "--models", metavar="DIR", help="cuda: measure soul.bin and stories260K.bin there, too"
    )
    c.add_argument("-o", metavar="FILE.json", help="cuda: rows as they come, to be read meanwhile")
    c.add_argument("--budget", metavar="S", type=positive, help="cuda: so many seconds (280)")
    c = add("show", "print a stage of the pipeline", add_one, add_hardware)
    c.add_argument("--stage", choices=STAGES, default="model", help="default: model")
    c.add_argument("--logits", action="store_true", help="as built with --logits")
    return parser.parse_args(argv)


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tokenizer", metavar="FILE", help="for checkpoints that have none")
    command.add_argument(
        "--set", action="append", default=[], metavar="SIZE=N", help="override a dimension"
    )
    command.add_argument(
        "--fixed",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help=f"fixed-point choice: {', '.join(f.name for f in fields(Numerics))}",
    )


def add_many(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--on", metavar="M,M,...", default=",".join(DEFAULT_MACHINES), help=ON_HELP
    )


def add_one(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--on",
        metavar="MACHINE",
        default="reference" if command.prog.endswith(("run", "train")) else "c64",
        help=ON_HELP,
    )


def add_hardware(command: argparse.ArgumentParser) -> None:
    command.add_argument("--memory", metavar="BYTES", type=int, help="of a PDP-11, if not all")
    rows = "pdp11/34a: ll-34 (default), dec or dec-mos"
    command.add_argument("--timing", metavar="ROW", default="", help=rows)


def add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--steps", type=int, help="steps (default: the recipe's)")
    command.add_argument(
        "--seed", type=int, default=None, help="of weights and data (default: recipe's)"
    )
    command.add_argument(
        "--numerics",
        choices=("float", "log", "fixed"),
        help="of training; log: as machines do, the default; fixed: by multiplications, as a "
        "PDP-11 can, too; float: on the reference",
    )


def add_generation(command: argparse.ArgumentParser) -> None:
    command.add_argument("-i", metavar="PROMPT", help="what to type at the machine")
    command.add_argument("-n", metavar="N", type=positive, help="tokens to generate, at most")
    add_sampling(command)
    command.add_argument("--logits", action="store_true", help="every logit, in the JSON")


def add_sampling(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-t", metavar="TEMP", type=float, default=0.0, help="0 is greedy (default)"
    )
    command.add_argument("-p", metavar="TOPP", type=float, default=1.0, help="1 is off (default)")
    command.add_argument("-s", metavar="SEED", type=int, default=0, help="of the sampling")


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def machines(text: str) -> list[str]:
    """The names of a list, in order."""
    return [name.strip() for name in text.split(",") if name.strip()]


def sizes(args: argparse.Namespace) -> dict[str, int]:
    """--set dim=32 ... as a dictionary."""
    return {name: whole(value, name) for name, value in pairs(args.set, "--set dim=32")}


def numerics(args: argparse.Namespace) -> dict[str, Any]:
    """--fixed activations=8 ... as options of quantize."""
    chosen: dict[str, Any] = {}
    words = {f.name for f in fields(Numerics) if str(f.type).startswith("str")}
    for name, value in pairs(args.fixed, "--fixed activations=8"):
        chosen[name] = value if name in words else whole(value, name)
    return chosen


def pairs(texts: Sequence[str], example: str) -> list[tuple[str, str]]:
    """name=value, name=value -> pairs; several may share one argument, parted by commas."""
    found = []
    for text in (part for whole_text in texts for part in whole_text.split(",")):
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{text!r} is not NAME=VALUE, as in {example}")
        found.append((name.strip(), value.strip()))
    return found


def whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text}: a whole number is needed") from None


def hardware(args: argparse.Namespace) -> dict[str, Any]:
    """--memory and --timing as options of build."""
    options: dict[str, Any] = {"memory_bytes": memory(args), "timing": timing(args)}
    if getattr(args, "pack", False):
        if find_machine(args.on).target != "mos6502":
            raise ValueError("--pack is for a C64's .prg and .d64")
        if Path(args.o).suffix.lower() == ".crt":
            raise ValueError(f"{args.o}: --pack is for a .prg or a .d64, which a C64 loads")
        options["packed"] = True
    if getattr(args, "screen", False):
        if find_machine(args.on).target != "mos6502":
            raise ValueError("--screen is for a C64")
        options["screen"] = True
    if getattr(args, "feedback", None) is not None:
        if find_machine(args.on).target != "mos6502":
            raise ValueError("--feedback is for a C64")
        options["feedback"] = tuple(name for name in machines(args.feedback) if name != "none")
    return options


def memory(args: argparse.Namespace) -> int | None:
    """--memory: what of its address space a PDP-11 has."""
    if args.memory is None:
        return None
    row = find_machine(args.on)
    if row.target != "pdp11":
        raise ValueError(f"--memory {args.memory}: {row.title} has what it has; a PDP-11 may vary")
    most = row.memory_bytes or 0
    if not LEAST_MEMORY <= args.memory <= most or args.memory % MEMORY_STEP:
        raise ValueError(
            f"--memory {args.memory}: allowed are multiples of {MEMORY_STEP} from {LEAST_MEMORY} "
            f"to {most}"
        )
    return int(args.memory)


def timing(args: argparse.Namespace) -> str:
    """--timing: a row of a PDP-11/34A's times."""
    if args.timing and args.on != "pdp11/34a":
        raise ValueError(f"--timing {args.timing}: only a pdp11/34a has several, {args.on} has not")
    rows = [row for row in TIMINGS if row != DEFAULT["pdp11/20"]]
    if args.timing and args.timing not in rows:
        raise ValueError(f"--timing {args.timing}: allowed are {', '.join(rows)}")
    return str(args.timing)


def check_training(args: argparse.Namespace) -> None:
    """Raise ValueError for what is said of a training where there is none, and the other way."""
    if args.train:
        given = {"-t": args.t, "-p": args.p != 1.0, "-s": args.s, "--logits": args.logits}
        wrong = [name for name, value in given.items() if value]
        if wrong:
            raise ValueError(f"{wrong[0]} is for answers, and --train is not: leave one out")
    elif (args.steps, args.seed, args.numerics) != (None, None, None):
        raise ValueError("--steps, --seed and --numerics are of a training: add --train")


def check_written(file: str | None, suffix: str, what: str) -> None:
    """Raise ValueError, before any work, for a file that could not be written after it."""
    if file is None:
        return
    path = Path(file)
    if path.suffix != suffix:
        raise ValueError(f"{file}: {what} are saved as {suffix}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{file}: cannot be written: no folder {path.parent}, or a folder itself")


def run_lines(image: Image, path: Path) -> list[str]:
    """The lines that run an image in other people's emulators: VICE, SIMH, ll-34."""
    file = quote(str(path))
    if image.machine.target == "mos6502":
        if ".reu" in image.container:
            size = len(image.container[".reu"]) // 1024
            contents = quote(str(path.with_suffix(".reu")))
            return [f"x64sc -reu -reusize {size} -reuimage {contents} -autostart {file}"]
        return [f"x64sc {'-cartcrt' if path.suffix == '.crt' else '-autostart'} {file}"]
    if image.machine.target == "cuda":
        return []
    model = "11/20" if image.machine.name == "pdp11/20" else "11/34"
    commands = (f"set cpu {model} 64K", f"load {path}", f"go {image.entry:o}")
    script = quote(str(path.with_suffix(".ini")))
    said = " ".join(map(quote, commands))
    lines = [f"printf '%s\\n' {said} > {script}; pdp11 {script}"]
    if model == "11/34":
        lines.append(f"ll-34 --lda {file}")
    return lines


class Speaker:
    """Prints tokens as they are chosen."""

    def __init__(self, fixed: FixedModel, quiet: bool = False) -> None:
        self.fixed, self.quiet, self.ids = fixed, quiet, [*fixed.generation.suffix]
        self.said = len(fixed.tokenizer.decode(self.ids))

    def __call__(self, event: str, value: int) -> None:
        if event == "token" and not self.quiet:
            self.ids.append(value)
            text = self.fixed.tokenizer.decode(self.ids)
            sys.stdout.write(text[self.said :])
            sys.stdout.flush()
            self.said = len(text)

    def end(self) -> None:
        """A new line after the answer."""
        if not self.quiet:
            print(flush=True)


def print_console(text: str) -> None:
    """What a machine prints, as it comes."""
    sys.stdout.write(text.replace("\r", ""))
    sys.stdout.flush()


def run_live(image: Image, prompt: str) -> int:
    """The machine's own screen or console while it answers, at its own speed."""
    if not sys.stdout.isatty():
        raise ValueError("--live draws on a terminal, and this is none: leave it out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{image.fixed.name}{next(iter(image.container))}"
        write_image(image, path)
        words = ["--on", image.machine.name, "--type", prompt + "\n", "--until", "answer_done"]
        return command.main([str(path), *words, "--live"])
