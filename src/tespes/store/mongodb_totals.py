"""Totals of a view's lines in MongoDB (see promise.Documents.totals). The lines stand beside the document as an array."""

from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from tespes.projections import ReadModel
from tespes.store import layout, totals
from tespes.store.conditions import HasPair
from tespes.store.totals import By, Key, Total, Within

Stored = dict[str, Any]


async def find(collection: AsyncCollection[Stored], model: ReadModel, by: By, within: Within | None) -> list[Total]:
    """The totals."""
    found: list[Stored] = []
    for pipeline in pipelines(model, by, within):
        found += await (await collection.aggregate(pipeline, allowDiskUse=True)).to_list()
    return totals.read(model, by, ((row["_id"], row["documents"], tuple(row[name] for name in model.sums)) for row in found))


def pipelines(model: ReadModel, by: By, within: Within | None) -> list[list[Stored]]:
    """What the server does. Documents without the key are asked for by themselves: unwinding would lose them."""
    match by:
        case Key():
            key = layout.term(HasPair(by.pairs, by.key, None))
            terms = {by.pairs: {"$gte": by.begin, "$lt": by.end}}
            unwound: list[Stored] = [{"$unwind": f"${by.pairs}"}, {"$match": terms}]
            having: list[Stored] = [_match(within, {by.pairs: key}), *unwound, *_summed(model, f"${by.pairs}")]
            without: list[Stored] = [_match(within, {by.pairs: {"$ne": key}}), *_summed(model, None)]
            return [having, without]
        case _:
            of = f"$lines.{by}" if by in model.lines else f"${by}"
            return [[_match(within, {}), *_summed(model, of)]]


def _match(within: Within | None, more: Stored) -> Stored:
    limits: Stored = {}
    if within is not None:
        texts = (("$gte", within.first), ("$lte", within.last))
        limits = {sign: text for sign, text in texts if text is not None}
    return {"$match": more | ({within.column: limits} if within is not None and limits else {})}


def _summed(model: ReadModel, of: str | None) -> list[Stored]:
    """First for each document, so that one with several lines is counted once."""
    each = {name: {"$sum": f"$lines.{name}"} for name in model.sums}
    all_of_them = {name: {"$sum": f"${name}"} for name in model.sums}
    return [
        {"$unwind": {"path": "$lines", "preserveNullAndEmptyArrays": True}},
        {"$group": {"_id": {"document": "$_id", "of": of}, **each}},
        {"$group": {"_id": "$_id.of", "documents": {"$sum": 1}, **all_of_them}},
    ]
