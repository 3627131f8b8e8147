"""`anachron train`: the loop, its transcript, its curve, and the weights in a file."""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import anachron.compiler as ac
from anachron.compiler import arguments, learning_rates, replica_command, report
from anachron.compiler.log_training import LogTraining, train_log, trains_in_logarithms
from anachron.compiler.machine_training import (
    MachineTraining,
    build_training,
    measure_step,
    train_on,
)
from anachron.compiler.model import Model
from anachron.compiler.printer import format_model
from anachron.compiler.targets import find_machine
from anachron.compiler.training import STEPS, WINDOW, Training, train
from anachron.compiler.training_image import TrainingImage
from anachron.compiler.weights import save_weights
from anachron.emulators.containers.files import write_file

SPARKS = "▁▂▃▄▅▆▇█"
CONVERGED = 0.98  # accuracy in the last window
SEVERAL = "say --on reference, ptx, cuda or h200"
INTEGERS = ("log", "fixed")  # numerics that machines have, the usual ones first


def main(args: argparse.Namespace, out: Console, err: Console) -> int:
    """Train as asked; 0 if the weights were trained (and saved)."""
    machines = arguments.machines(args.on)
    if len(machines) > 1 and (args.json or args.seeds or args.rates):
        raise ValueError("--json, --seeds and --rates are for one machine: name one with --on")
    arguments.check_written(args.o, ".npz", "weights")
    arguments.check_written(args.plot, ".png", "pictures")
    if args.seeds is not None and (args.seeds < 1 or args.o):
        raise ValueError("--seeds takes 1 or more, and saves no weights: leave -o out")
    if args.rates is not None and args.o:
        raise ValueError("--rates trains several times, and saves no weights: leave -o out")
    model = ac.load(args.model, tokenizer=args.tokenizer, overrides=arguments.sizes(args))
    first = first_seed(model, args)
    seeds = range(first, first + (args.seeds or 1))
    rates = learning_rates.parse_rates(args.rates) if args.rates else ()
    models = [learning_rates.at_rate(model, rate) for rate in rates] or [model]
    trainings: list[Training] = []
    costs: dict[str, object] = {}
    for args.on in machines:
        if args.on != "reference" and find_machine(args.on).target == "cuda":
            some, costs = replica_command.train(model, args, seeds, rates, out, err)
            trainings += some
            if not args.json and not rates:
                for one in some[: replica_command.SHOWN]:
                    show_curve(one, out)
        elif args.on != "reference":
            if rates:
                raise ValueError(f"{args.on} trains at one rate: leave --rates out, or {SEVERAL}")
            trainings += train_on_machine(model, args, seeds, out, err)
        elif args.numerics in INTEGERS or args.numerics is None and trains_in_logarithms(model):
            for varied in models:
                if rates and not args.json:
                    out.print(f"rate {learning_rates.find_rate(varied):g}", highlight=False)
                trainings += train_in_logarithms(varied, args, seeds, out, err)
        else:
            pairs = [(varied, seed) for varied in models for seed in seeds]
            trainings += [train_one(varied, args, seed, out, err) for varied, seed in pairs]
    if args.plot:
        draw(trainings, Path(args.plot))
    if args.seeds or rates:
        done = sum(t.accuracy >= CONVERGED for t in trainings)
        summary: dict[str, object] = {"seeds": len(seeds), "converged": done}
        summary |= {"threshold": CONVERGED}
        rows = learning_rates.summarize(trainings, CONVERGED)
        summary |= {"rates": rows} if rates else {}
        summary |= machine_times(trainings)
        summary |= costs
        if rates and not args.json:
            out.print(learning_rates.show_rates(rows, CONVERGED))
        print(json.dumps(summary)) if args.json else out.print(
            f"{done} of {len(trainings)} {'trainings' if rates else 'seeds'} reach {CONVERGED} "
            f"within {trainings[0].steps} steps"
            + "".join(f", {name} {value:.2f}" for name, value in machine_times(trainings).items())
        )
        return 0
    training = trainings[-1]  # of several machines all have the same weights
    if args.o:
        save_weights(args.o, training.weights, format_model(model))
        err.print(f"wrote {args.o}", style="dim")
    if args.json:
        print(json.dumps(as_json(training) | costs))
    return 0


def build_image(args: argparse.Namespace) -> TrainingImage:
    """The image of `build --train`."""
    model = ac.load(args.model, tokenizer=args.tokenizer, overrides=arguments.sizes(args))
    return build_as_asked(args, model, args.on, arguments.hardware(args))


def build_as_asked(
    args: argparse.Namespace, model: Model, machine: str, options: Mapping[str, Any]
) -> TrainingImage:
    """The program that trains a model for as many steps, from the seed and in the integers asked
    for."""
    seed, numerics = first_seed(model, args), find_numerics(args)
    return build_training(model, machine, args.steps, seed, numerics, **options)


def find_numerics(args: argparse.Namespace) -> str:
    """The integers that were asked for, or those of logarithms."""
    if args.numerics not in (None, *INTEGERS):
        raise ValueError(f"{args.on} trains in integers: leave --numerics {args.numerics} out")
    return args.numerics or INTEGERS[0]


def cycles(args: argparse.Namespace, out: Console) -> int:
    """Each kernel of one step that goes back: predicted, and with --measure the first one's."""
    image = build_image(args)
    predicted = image.predict()
    measured = measure_step(image) if args.measure else None
    if args.json:
        rows = report.cycles_rows(predicted, measured)
        print(json.dumps({"machine": args.on, "model": image.name, "passes": 1, "rows": rows}))
    else:
        out.print(f"{image.name} on {image.machine.title}: one step of training\n")
        out.print(report.cycles_table(image, predicted, measured))
    return 0


def first_seed(model: Model, args: argparse.Namespace) -> int:
    """The seed asked for, or the recipe's."""
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"seed {args.seed}: allowed is 0 and up")
    return args.seed if args.seed is not None else int(model.recipe.get("seed", 0))


def train_one(
    model: Model, args: argparse.Namespace, seed: int, out: Console, err: Console
) -> Training:
    """One training in floating point, with a bar while it runs and a line a window."""
    with show_progress(model, args, f"seed {seed}", err) as advance:
        training = train(model, args.steps, seed, advance)
    if not args.json:
        show(training, model, out)
    return training


def train_in_logarithms(
    model: Model, args: argparse.Namespace, seeds: Sequence[int], out: Console, err: Console
) -> list[Training]:
    """All seeds at once, in the machines' integers."""
    what = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    with show_progress(model, args, what, err) as advance:
        trainings = train_log(model, args.steps, seeds, advance, find_numerics(args))
    if not args.json:
        for training in trainings:
            if len(trainings) == 1:
                out.print("\n".join(training.transcript), highlight=False)
            show_curve(training, out)
    return list(trainings)


def train_on_machine(
    model: Model, args: argparse.Namespace, seeds: Sequence[int], out: Console, err: Console
) -> list[Training]:
    """One image, started once for each seed; of a single one the console is shown as it prints."""
    numerics = find_numerics(args)
    image = build_as_asked(args, model, args.on, arguments.hardware(args))
    err.print(f"{image!r}", style="dim", markup=False, highlight=False)
    listener = None if args.json or len(seeds) > 1 else arguments.print_console
    wanted = train_log(model, args.steps, seeds, numerics=numerics)
    trainings = []
    for seed, known in zip(seeds, wanted, strict=True):
        training = train_on(image, seed, listener, known)
        trainings.append(training)
        if not args.json:
            time = report.seconds(training.time_ns)
            out.print(f"{training.machine.title}, {time}: ", end="", highlight=False)
            show_curve(training, out)
    return list(trainings)


def machine_times(trainings: Sequence[Training]) -> dict[str, float]:
    """Seconds of the machine's time over all trainings, where a machine did them."""
    times = [t.time_ns / 1e9 for t in trainings if isinstance(t, MachineTraining)]
    if not times:
        return {}
    return {"median_s": statistics.median(times), "most_s": max(times)}


@contextmanager
def show_progress(
    model: Model, args: argparse.Namespace, what: str, err: Console
) -> Iterator[Callable[[int, float, float], None]]:
    """A bar on the terminal; gives what is to be told of each step."""
    with Progress(
        TextColumn(f"{model.name}, {what}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        steps = args.steps or model.recipe.get("steps", STEPS)
        task = progress.add_task("train", total=steps, loss=0.0)
        yield lambda step, loss, accuracy: progress.update(task, completed=step, loss=loss)


def show(training: Training, model: Model, out: Console) -> None:
    """The transcript: a line a window, then the curve of the losses."""
    window = model.recipe.get("window", 50)
    if len(training.losses) <= 20:
        for i, (loss, accuracy) in enumerate(
            zip(training.losses, training.accuracies, strict=True)
        ):
            step = min((i + 1) * window, training.steps)
            out.print(f"STEP {step:5d}  LOSS={loss:.4f}  ACC={accuracy:.3f}")
    show_curve(training, out)


def show_curve(training: Training, out: Console) -> None:
    """A training in a line."""
    out.print(
        f"seed {training.seed}: {sparkline(training.losses)}  loss {training.losses[-1]:.4f}, "
        f"accuracy {training.accuracy:.3f}"
    )


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Values as a row of bars, the largest full.

    >>> sparkline([8.0, 4.0, 1.0])
    '█▄▁'
    """
    step = max(1, -(-len(values) // width))
    means = [
        sum(values[i : i + step]) / len(values[i : i + step]) for i in range(0, len(values), step)
    ]
    top = max(means) or 1.0
    return "".join(SPARKS[max(0, min(7, int(v / top * 8 + 0.5) - 1))] for v in means)


def as_json(training: Training) -> dict[str, object]:
    """The object that `--json` prints; times are the machine's, which the reference has none of.

    The hash is of the trained integers, or of float64 where the training has none.
    """
    if isinstance(training, LogTraining):
        sha256 = training.sha256
    else:
        digest = hashlib.sha256()
        for name in training.model.shapes:
            digest.update(training.weights[name].astype("<f8").tobytes())
        sha256 = digest.hexdigest()
    trained_on = training if isinstance(training, MachineTraining) else None
    time_ns = trained_on.time_ns if trained_on else None
    return {
        "machine": trained_on.machine.name if trained_on else "reference",
        "status": "ok",
        "steps": training.steps,
        "seed": training.seed,
        "accuracy": training.accuracy,
        "loss": list(training.losses),
        "time_ns": time_ns,
        "time_s": time_ns / 1e9 if time_ns is not None else None,
        "cycles_total": trained_on.cycles if trained_on else None,
        "weights_sha256": sha256,
    }


def draw(trainings: Sequence[Training], path: Path) -> None:
    """The loss of every training as a picture; needs the extra `plot` (matplotlib).

    On the left over the steps, where machines with the same integers lie on each other; on the
    right over the seconds of the machines' own time, where there are machines.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'anachron[plot]'") from None
    import io

    on_machines = [t for t in trainings if isinstance(t, MachineTraining)]
    figure = Figure(figsize=(12 if on_machines else 8, 4.5), layout="constrained")
    axes, *clocks = figure.subplots(1, 1 + bool(on_machines), sharey=True, squeeze=False)[0]
    for number, training in enumerate(trainings):
        who = training.machine.title if isinstance(training, MachineTraining) else "reference"
        line = ("-", "--", ":", "-.")[number % 4]
        style = {"linestyle": line, "label": f"{who}, seed {training.seed}"}
        window = training.model.recipe.get("window", WINDOW)
        steps = [min(window * (i + 1), training.steps) for i in range(len(training.losses))]
        axes.plot(steps, training.losses, **style)
        if isinstance(training, MachineTraining):
            seconds = [ns / 1e9 for ns in training.window_ns]
            clocks[0].plot(seconds, training.losses, color=axes.lines[-1].get_color(), **style)
    axes.set(xlabel="step", ylabel="loss", title=trainings[0].model.name)
    for clock in clocks:
        clock.set(xlabel="seconds of the machine's time", xscale="log")
    if len(trainings) <= 10:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_file(path, buffer.getvalue())
