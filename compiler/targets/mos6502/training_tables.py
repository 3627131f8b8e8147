"""A training program's sums of products, with their slots' routines, and its tables as sections.

To add a kernel: its Products in `kernels`, the routines that write its slots in `patches`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from anachron.compiler.targets.mos6502.sections import Section, byte_lines, data, page_data
from anachron.kernels.mos6502.instructions import set_word
from anachron.kernels.mos6502.training import backward, codes, forward, memory, update
from anachron.kernels.mos6502.training.codes import HALF, SHARES, Factor, Tables
from anachron.kernels.mos6502.training.products import Products, follow, index
from anachron.kernels.mos6502.training.shape import MOST, Shape
from anachron.kernels.reference.log_tables import magnitude_code

CELLS_A_LINE = 8


@dataclass(frozen=True)
class Fast:
    """What is done fast where there is memory for it.

    features, updates  slots are written by straight programs; otherwise a loop takes twice the time
    recall             queries, keys and values are kept by position and token
    mutes              positions without a gradient are left out where they are columns
    """

    recall: bool
    mutes: bool
    features: bool
    updates: bool


class TableSet:
    """The tables that one shape and its constants need.

    Raises ValueError for a rate, or attention's scale, that the codes have no room for.
    """

    def __init__(self, name: str, shape: Shape, fast: Fast) -> None:
        self.name, self.shape, self.fast = name, shape, fast
        self.score = shape.scales.d_scores // 2
        self.coded = sorted(
            {HALF, shape.scales.scores // 2, shape.scales.slopes // 2}
            | {constant // 2 for _, _, constant in update.runs(shape)}
        )
        self.output = shape.scales.output // 2
        self._check()

    def _check(self) -> None:
        """What the reference's code of 0 is multiplied with must give 0, and a gradient's byte that
        is taken for none must have none."""
        products = max(*self.coded, self.output) + codes.LARGEST + codes.ZERO
        silent = codes.SILENT_BYTE - SHARES + backward.LARGEST_GRADIENT + codes.LARGEST
        over = 1 + max(products, self.score + codes.ZERO, silent + self.output)
        if over > 0:
            raise ValueError(
                f"{self.name}: a rate, or attention's scale, is {2 ** (over / 11.09):.1f} times "
                "too large for codes"
            )

    @property
    def kernels(self) -> tuple[Products, ...]:
        shape = self.shape
        return (
            forward.features(shape),
            forward.positions(shape),
            forward.ids(shape),
            backward.ids(shape),
            update.products(shape),
            update.output_products(shape),
        )

    def mutes(self) -> dict[str, str]:
        """The routines by which kernels leave out positions without a gradient, or do not."""
        features, positions, _, ids, *_ = self.kernels
        return {
            f"mute {kernel.name}": kernel.mute()
            if self.fast.mutes
            else f"mute_{kernel.name}:\nunmute_{kernel.name}:\n    rts"
            for kernel in (features, positions, ids)
        }

    @cached_property
    def tables(self) -> Tables:
        most = max(*self.coded, self.output, backward.CONSTANT) + codes.LARGEST
        shares = backward.LARGEST_GRADIENT + max(self.output, backward.CONSTANT)
        return Tables(max(most, shares, forward.LARGEST_SHARE))

    @property
    def factors(self) -> dict[str, Factor]:
        """Name of two tables of addresses -> the bytes that they are of."""
        return {
            **{_coded(constant): codes.coded(constant) for constant in self.coded},
            "shares": codes.shares(0),
            "gradients_by_matrix": codes.gradients(backward.CONSTANT),
            "gradients_by_y": codes.gradients(self.output),
        }

    def patches(self) -> dict[str, str]:
        """The routines that write the slots."""
        shape, pages = self.shape, self.tables.pages
        features, positions, logits, ids, updates, outputs = self.kernels
        usual, slopes = _coded(HALF), _coded(shape.scales.slopes // 2)

        def each(
            kernel: Products, name: str, tables: str, source: str, step: int, between: int
        ) -> str:
            begin = set_word("source", source)
            return kernel.patch_each(name, tables, pages, follow(step), between, begin)

        found = {
            "patch_features": self._patch_features("patch_features", HALF),
            "patch_mix": each(positions, "patch_mix", "shares", "attention", MOST, 1),
            "patch_queries": each(positions, "patch_queries", slopes, "slopes", MOST, 1),
            "patch_keys": each(positions, "patch_keys", slopes, "slopes", 1, MOST),
            "patch_values": each(positions, "patch_values", "shares", "attention", 1, MOST),
            "patch_logits": each(logits, "patch_logits", usual, "out_codes", 1, shape.feature),
            "patch_ids": each(ids, "patch_ids", "gradients_by_matrix", "gradients", MOST, 1),
            "patch_outputs": each(outputs, "patch_outputs", "gradients_by_y", "gradients", 1, MOST),
        }
        scores = shape.scales.scores // 2
        found["patch_scores"] = (
            "patch_scores = patch_features"
            if scores == HALF
            else self._patch_features("patch_scores", scores)
        )
        for first, _, constant in update.runs(shape):
            name = f"patch_updates{first}"
            found[name] = self._patch_updates(updates, name, constant // 2)
        return found

    def _patch_features(self, name: str, constant: int) -> str:
        """From the records, the part that Y is the offset of."""
        features, record, pages = self.kernels[0], self.shape.record, self.tables.pages
        if self.fast.features:
            return features.patch_all(
                name, _coded(constant), pages, lambda term, c: f"records+{record * c + term},y"
            )
        begin = """\
    clc
    tya
    adc #<records
    sta source
    lda #0
    adc #>records
    sta source+1"""
        return features.patch_each(name, _coded(constant), pages, follow(1), record, begin)

    def _patch_updates(self, kernel: Products, name: str, constant: int) -> str:
        """From x in the records."""
        record, x, pages = self.shape.record, self.shape.part(3), self.tables.pages
        if self.fast.updates:
            return kernel.patch_all(
                name, _coded(constant), pages, lambda term, c: f"records+{record * term + x + c}"
            )
        load = index(lambda term: f"records+{record * term + x}")
        return kernel.patch_each(name, _coded(constant), pages, load, 0, "")

    def recall(self) -> str:
        """Queries, keys and values, kept or not."""
        if self.fast.recall:
            return memory.recall(self.shape, _coded(HALF), self.tables.pages)
        return "recall = qkv"

    def sections(self) -> list[Section]:
        """Everything that is looked up."""
        tables = self.tables
        content = {m: tables.content(m) for m in (256, 255)}
        products = "\n".join(f"products_{m}:\n{byte_lines(d)}" for m, d in content.items())
        products += f"\nproduct_pages = {tables.pages}"
        sections = [
            page_data("products", "table", products, 2 * len(content[256])),
            page_data("codes", "table", f"codes:\n{byte_lines(codes.code_pages())}", 17 * 256),
            data("slope codes", "table", "slope_table", self._slope_codes()),
        ]
        if self.fast.recall:
            words = memory.tables(self.shape)
            text = "\n".join(
                f"{label}_{half}:\n{_expressions(f'{sign}({word})' for word in cells)}"
                for label, cells in words.items()
                for half, sign in (("low", "<"), ("high", ">"))
            )
            sections.append(Section("kept", "table", text))
        for name, cells in self._pages().items():
            sections.append(page_data(name, "table", f"{name}:\n{cells}", 256))
        for label, entries in (
            ("softmax_of_scores", self.shape.positions),
            ("softmax_of_logits", self.shape.vocab),
        ):
            halves = codes.byte_words(codes.exponentials(entries))
            for half, terms in zip(("low", "high"), halves, strict=True):
                text = f"{label}_{half}:\n{byte_lines(terms)}"
                sections.append(page_data(f"{label} {half}", "table", text, len(terms)))
        return sections

    def _slope_codes(self) -> bytes:
        top = self.score + magnitude_code(2 * codes.SPREAD) // 2
        return codes.slope_codes(top, self.shape.scales.most)

    def _pages(self) -> dict[str, str]:
        """Tables of 256 bytes."""
        first = codes.Tables.first - codes.ORIGIN
        slopes = [2 * max(0, b - SHARES + self.score - first) for b in range(256)]
        rests = [b if b < 127 else b + 1 for b in range(256)]
        rests = [16 if b == 127 else high & 15 for b, high in enumerate(rests)]
        pages = {
            "pages_of_rests": _pages_of_codes(rests),
            "pages_of_highs": _pages_of_codes(b & 15 for b in range(256)),
            "pages_of_words": _pages_of_codes(b >> 4 for b in range(256)),
            "sixteenfold": byte_lines(bytes(b << 4 & 255 for b in range(256))),
            "sixteenths": byte_lines(bytes(b >> 4 for b in range(256))),
            "low_of_64ths": byte_lines(bytes((b >> 4 & 3) << 6 for b in range(256))),
            "high_of_64ths": byte_lines(bytes((b ^ 128) - 128 >> 6 & 255 for b in range(256))),
            "lacks": byte_lines(bytes(codes.lack_byte(b) for b in range(256))),
            **_addresses("slopes", "slope_table", slopes),
        }
        for name, factor in self.factors.items():
            pages |= _addresses(name, "products_256", factor.addresses(self.tables))
        return pages


def _coded(constant: int) -> str:
    """The name of the tables of addresses of linear integers' bytes, with a constant."""
    return f"coded_{'less' if constant < 0 else 'plus'}_{abs(constant)}"


def _pages_of_codes(pages: Iterable[int]) -> str:
    return _expressions(f"(>codes)+{page}" for page in pages)


def _addresses(name: str, table: str, offsets: Sequence[int]) -> dict[str, str]:
    """Two tables: the bytes of addresses in a table."""
    return {
        f"{name}_{half}": _expressions(f"{sign}({table}+{offset})" for offset in offsets)
        for half, sign in (("low", "<"), ("high", ">"))
    }


def _expressions(cells: Iterable[str]) -> str:
    every = list(cells)
    return "\n".join(
        "    .byte " + ", ".join(every[at : at + CELLS_A_LINE])
        for at in range(0, len(every), CELLS_A_LINE)
    )
