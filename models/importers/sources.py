"""The published checkpoints that can be imported, by name."""

from models.importers.cmcs import CMCS_I3D, CMCS_NOTES, CMCS_UNTRIMMED, UNTRIMMED_NOTE, plan_cmcs_on
from models.importers.plan import NO_BACKBONE_NOTE, ImportSource
from models.importers.stpn import plan_stpn
from models.importers.two_stream import (
    plan_acmnet,
    plan_aicl,
    plan_asl,
    plan_basnet,
    plan_cola,
    plan_rskp,
)

_CMCS_WIDTHS = {"stream": 1024, "width": 32, "branch": 16, "attention": 16, "branches": 4}
_CMCS_ORIGIN = "https://github.com/Finspire13/CMCS-Temporal-Action-Localization"
NO_LICENCE = "none stated"

SOURCES: dict[str, ImportSource] = {
    one.name: one
    for one in (
        ImportSource(
            "aicl",
            "https://github.com/lizhilin-ustc/AAAI2023-AICL",
            "MIT",
            (1,),
            "actionness_module.cls.0.weight",
            plan_aicl,
            widths={"stream": 1024, "hidden": 512},
        ),
        ImportSource(
            "asl",
            "https://github.com/layer6ai-labs/ASL",
            NO_LICENCE,
            (1,),
            "base_module.2.weight",
            plan_asl,
            widths={"stream": 1024, "hidden": 512},
        ),
        ImportSource(
            "rskp",
            "https://github.com/LeonHLJ/RSKP",
            "MIT",
            (1,),
            "ac_center",
            plan_rskp,
            background=True,
            widths={"stream": 1024, "embed": 2048, "prototypes": 8},
        ),
        ImportSource(
            "basnet",
            "https://github.com/Pilhyeon/BaSNet-pytorch",
            "MIT",
            (1,),
            "cas_module.conv_3.0.weight",
            plan_basnet,
            background=True,
            widths={"stream": 1024, "width": 2048, "hidden": 512},
        ),
        ImportSource(
            "cola",
            "https://github.com/zhang-can/CoLA",
            "MIT",
            (1,),
            "actionness_module.f_cls.0.weight",
            plan_cola,
            widths={"stream": 1024, "embed": 2048},
        ),
        ImportSource(
            "acmnet",
            "https://github.com/ispc-lab/ACM-Net",
            "MIT",
            (1,),
            "snippet_cls.weight",
            plan_acmnet,
            background=True,
            state_key="model_state_dict",
        ),
        ImportSource(
            "cmcs",
            _CMCS_ORIGIN,
            "MIT",
            (1, 2),
            "cls_heads.0.weight",
            plan_cmcs_on(CMCS_I3D, (NO_BACKBONE_NOTE, *CMCS_NOTES)),
            background=True,
            widths=_CMCS_WIDTHS,
        ),
        ImportSource(
            "cmcs-untrimmednet",
            _CMCS_ORIGIN,
            "MIT",
            (1, 2),
            "cls_heads.0.weight",
            plan_cmcs_on(CMCS_UNTRIMMED, (UNTRIMMED_NOTE, *CMCS_NOTES)),
            background=True,
            widths=_CMCS_WIDTHS,
        ),
        ImportSource(
            "stpn-tf",
            "https://github.com/bellos1203/STPN",
            "Apache-2.0",
            (2,),
            "Classification/class_weight/bias",
            plan_stpn,
            container="tensorflow",
            widths={"stream": 1024, "hidden": 256},
        ),
    )
}
