"""Does a scan say that it shows another part of the body than the one that a task is about?"""

from __future__ import annotations

from typing import get_args

from medseg.core.study import Series
from medseg.core.task import BodyRegion, Task

DEFINED_TERMS: dict[BodyRegion, str] = {
    "head": "HEAD BRAIN CEREBELLUM SKULL SCALP FACE EYE ORBIT EAR IAC NOSE MOUTH JAW MAXILLA TMJ ZYGOMA PAROTID TONGUE "
    "CIRCLEOFWILLIS HEADNECK",
    "neck": "NECK HEADNECK CSPINE CTSPINE CAROTID LARYNX PHARYNX THYROID NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV",
    "chest": "CHEST LUNG HEART MEDIASTINUM BREAST RIB STERNUM TSPINE CTSPINE TLSPINE CORONARYARTERY BRONCHUS ESOPHAGUS "
    "NECKCHEST CHESTABDOMEN CHESTABDPELVIS NECKCHESTABDOMEN NECKCHESTABDPELV",
    "abdomen": "ABDOMEN LIVER PANCREAS SPLEEN KIDNEY ADRENAL GALLBLADDER STOMACH DUODENUM COLON LSPINE TLSPINE LSSPINE "
    "ABDOMENPELVIS CHESTABDOMEN CHESTABDPELVIS NECKCHESTABDOMEN NECKCHESTABDPELV",
    "pelvis": "PELVIS HIP BLADDER PROSTATE UTERUS OVARY RECTUM SSPINE LSSPINE ILIUM COCCYX ABDOMENPELVIS "
    "CHESTABDPELVIS NECKCHESTABDPELV",
    "arm": "ARM SHOULDER HUMERUS ELBOW WRIST HAND FINGER THUMB CLAVICLE SCAPULA EXTREMITY",
    "leg": "LEG THIGH FEMUR KNEE PATELLA CALF ANKLE FOOT TOE CALCANEUS EXTREMITY",
}
"""Defined terms of BodyPartExamined (PS3.16 annex L) by the regions that they show. Terms that name no place in
particular (WHOLEBODY, SPINE, AORTA) and words that are none of these say nothing."""


def regions_shown(body_part: str) -> frozenset[BodyRegion]:
    """The regions of a BodyPartExamined, in whatever case and with whatever spaces; empty where it is not known."""
    term = "".join(letter for letter in body_part.upper() if letter.isalpha())
    regions: tuple[BodyRegion, ...] = get_args(BodyRegion)
    return frozenset(region for region in regions if term in DEFINED_TERMS[region].split())


def body_part_warnings(series: Series, task: Task) -> tuple[str, ...]:
    """A sentence where a series names a region that is none of the task's; nothing where either is not known.

    It warns and no more: BodyPartExamined is often that of the protocol, not of the scan (Gueld et al. 2002, Quality of
    DICOM header information for image categorization).
    """
    shown = regions_shown(series.body_part)
    if not shown or not task.body_regions or shown & set(task.body_regions):
        return ()
    wanted = f"{task.name} is for the {' or '.join(task.body_regions)}"
    return (f"the scan says that it shows {series.body_part}, and {wanted}: check that this is the right scan",)
