"""What ComfyUI would refuse in a graph, found before it is sent, and the files that a graph needs. PURE.

ComfyUI has no call that only checks. So this says what `validate_prompt` and `validate_inputs` in its `execution.py`
(0.29.0) would say, all mistakes at once. It never refuses what ComfyUI takes: where `/object_info` does not say enough,
nothing is said. `search` goes through the nodes, `inputs` judges one input, `named_files` knows the names of files.
"""

from comfyledger.comfyui.graph.checks.named_files import files as files
from comfyledger.comfyui.graph.checks.named_files import models as models
from comfyledger.comfyui.graph.checks.named_files import names_model as names_model
from comfyledger.comfyui.graph.checks.named_files import unknown_classes as unknown_classes
from comfyledger.comfyui.graph.checks.refusal import MISTAKES_MAX as MISTAKES_MAX
from comfyledger.comfyui.graph.checks.refusal import UNCHECKED as UNCHECKED
from comfyledger.comfyui.graph.checks.refusal import refusal as refusal
from comfyledger.comfyui.graph.checks.refusal import summary as summary
from comfyledger.comfyui.graph.checks.search import Level as Level
from comfyledger.comfyui.graph.checks.search import find_image_mistakes as find_image_mistakes
from comfyledger.comfyui.graph.checks.search import find_mistakes as find_mistakes
