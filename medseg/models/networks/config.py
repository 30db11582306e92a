"""The one list of networks: a plan's `kind` names one of them. To add a network, add its config here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.deeplabv3 import DeepLabV3Config
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.pspnet import PSPNetConfig
from medseg.models.networks.tiramisu import TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig

NetworkConfig = Annotated[
    UNet3DConfig | FCNConfig | TiramisuConfig | PSPNetConfig | DeepLabV3Config | CnnCrfConfig,
    Field(discriminator="kind"),
]
