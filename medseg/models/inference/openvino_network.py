"""A network compiled by OpenVINO for this machine's processor; the only user of openvino.

OpenVINO fuses the layers of a network and runs it in bfloat16 where the processor has it. The network is handed over
through OpenVINO's own reader of traced modules, which, unlike its converter, reports nothing to anyone.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core.errors import InputError
from medseg.core.geometry import Shape
from medseg.models.inference.device import CPU, autocast, has_fast_bfloat16

MOST_DIFFERENCE = 0.01
"""How far the mean probability may lie from torch's, over a window of noise; bfloat16 differs from float32 by less."""


class OpenVinoNetwork(nn.Module):
    """Class scores (1, class, i, j, k) float32 of patches of one shape, as the network that was compiled gives them.

    A result is written over by the next.
    """

    def __init__(self, network: nn.Module, channels: int, patch: Shape) -> None:
        """Compile the network. Raises InputError where openvino is missing or answers otherwise than torch."""
        super().__init__()
        example = torch.from_numpy(np.random.default_rng(0).normal(size=(1, channels, *patch)).astype(np.float32))
        self._run = _compiled(_FirstHead(network.eval()), example)
        with torch.inference_mode(), autocast(CPU, enabled=has_fast_bfloat16(CPU)):
            expected = network(example)[0].float().softmax(dim=1)
        apart = float((self(example)[0].softmax(dim=1) - expected).abs().mean())
        if not apart <= MOST_DIFFERENCE:
            raise InputError(
                f"OpenVINO and torch answer differently for this network: their probabilities lie {apart:.3g} apart on "
                f"average, {MOST_DIFFERENCE:g} is allowed. Choose the device cpu."
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(self._run(images.contiguous().numpy()))]


class _FirstHead(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        heads: list[Tensor] = self.network(images)
        return heads[0]


def _compiled(network: nn.Module, example: Tensor):  # type: ignore[no-untyped-def]
    """A function from images to scores, both float32 arrays."""
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise InputError(
            "the device openvino needs the package openvino: pip install 'medseg[openvino]', or choose the device cpu."
        ) from error
    try:
        with warnings.catch_warnings():
            # torch would rather export; its export refuses a U-Net of MONAI, which keeps heads in a list.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            reader = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(traced, example_input=(example,))  # kept: the model reads from it
            model = reader.convert(reader.load(decoder))
        model.reshape(list(example.shape))
        precision = "bf16" if has_fast_bfloat16(CPU) else "f32"
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise InputError(
            f"OpenVINO cannot compile this network ({str(error).splitlines()[0]}). Choose the device cpu."
        ) from error
    return lambda images: compiled(images, share_outputs=True)[0]
