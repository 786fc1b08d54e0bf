"""The three protocols under which the field counts detections, as a table of their differences.

| name | intervals | who chooses | match if | ambiguous stretches | precision |
| --- | --- | --- | --- | --- | --- |
| ``anet`` | seconds | detections, by score | tIoU >= | not known | envelope |
| ``wtalc`` | snippets | detections, by score | tIoU >= | removed beforehand | envelope |
| ``evalkit`` | seconds | instances, in turn | tIoU > | ignored if unmatched | as it is |

Who chooses takes the free counterpart of the same class and video with the largest overlap.
A number is comparable only with numbers of its own protocol, so every result carries the name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from models.evaluation.records import Detection

ProtocolName = Literal["anet", "wtalc", "evalkit"]

CLIFF_DIVING, DIVING = "CliffDiving", "Diving"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one protocol counts.

    Attributes:
        name: on the command line and in results.
        title: in print.
        on_snippets: intervals become integer snippet ranges first.
        truths_choose: instances take detections; otherwise detections take instances.
        strict: the overlap must exceed the threshold; otherwise it may equal it.
        ambiguous: "unknown" leaves every detection; "removed" drops those of any class that touch
            an ambiguous stretch before matching; "ignored" drops those that found no instance.
        envelope: precision is made monotone before it is summed over recall.
        ties_by_video: of equal scores the one whose video's name sorts first ranks first; then,
            as in the other protocols at once, the one that stands first in the input.
    """

    name: ProtocolName
    title: str
    on_snippets: bool
    truths_choose: bool
    strict: bool
    ambiguous: Literal["unknown", "removed", "ignored"]
    envelope: bool
    ties_by_video: bool


PROTOCOLS: dict[str, Protocol] = {
    # Source: activitynet/ActivityNet Evaluation and its copies in BaS-Net, CoLA, ASL, AICL.
    # Equal scores rank in the order of the input; there the order is undefined. Videos that the
    # original would ask a server about are not left out.
    "anet": Protocol("anet", "P-ANET", False, False, False, "unknown", True, False),
    # Source: LeonHLJ/RSKP evaluation/detectionMAP.py. A class without a surviving detection has
    # AP 0 here; there it makes the whole figure 0.
    "wtalc": Protocol("wtalc", "P-WTALC", True, False, False, "removed", True, False),
    # Source: THUMOS14 development kit, TH14evalDet.m.
    "evalkit": Protocol("evalkit", "P-EVALKIT", False, True, True, "ignored", False, True),
}


def cliffdiving_as_diving(detections: Iterable[Detection]) -> list[Detection]:
    """Return the detections with every CliffDiving claimed as Diving too, with the same score.

    In THUMOS14 every annotated CliffDiving is annotated as Diving as well. No published figure is
    known to use this rule, so it is never on by default.
    """
    both: list[Detection] = []
    for one in detections:
        both.append(one)
        if one.label == CLIFF_DIVING:
            both.append(replace(one, label=DIVING))
    return both
