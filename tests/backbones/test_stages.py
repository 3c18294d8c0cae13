"""Stages end at cut points, on any functional network and where the families' names say."""

import pytest

from tlkit.backbones.build import build_backbone
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import cut_positions, find_stages


@pytest.fixture
def keras():
    module = import_keras()
    yield module
    module.backend.clear_session()


def small_network(keras, *, bypass):
    """Two resolutions with a residual block at each; ``bypass`` adds a path around the middle."""
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255, name="scale")(image)
    first = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(x)
    x = layers.Conv2D(4, 3, padding="same", name="inner")(first)
    x = layers.Add(name="first_add")([x, first])
    middle = layers.Conv2D(8, 3, strides=2, padding="same", name="second")(x)
    if bypass:
        around = layers.Conv2D(8, 1, strides=2, name="around")(first)
        middle = layers.Add(name="join")([middle, around])
    x = layers.ReLU(name="end")(middle)
    return keras.Model(image, x)


def test_cut_points_are_what_no_path_avoids(keras):
    model = small_network(keras, bypass=False)
    names = [model.operations[position].name for position in cut_positions(model.operations)]
    assert names[1:] == ["scale", "first", "first_add", "second", "end"]


def test_a_bypass_removes_the_cut_points_it_spans(keras):
    model = small_network(keras, bypass=True)
    names = [model.operations[position].name for position in cut_positions(model.operations)]
    assert names[1:] == ["scale", "first", "join", "end"]


def test_generic_rule_takes_the_last_cut_at_each_resolution(keras):
    stages = find_stages(small_network(keras, bypass=False))
    assert [(stage.index, stage.name, stage.layer) for stage in stages] == [
        (1, "stage1", "first_add"),
        (2, "stage2", "end"),
    ]
    assert [(stage.height, stage.width, stage.channels) for stage in stages] == [(16, 16, 4), (8, 8, 8)]


def test_a_head_does_not_change_the_stages(keras):
    model = small_network(keras, bypass=False)
    pooled = keras.layers.GlobalAveragePooling2D()(model.output)
    headed = keras.Model(model.input, keras.layers.Dense(3)(pooled))
    assert find_stages(headed) == find_stages(model)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg16", [f"block{i}_pool" for i in range(1, 6)]),
        (
            "resnet50",
            ["pool1_pool", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
        ),
        (
            "efficientnet-lite0",
            [
                "block1_1_project_bn",
                "block2_2_add",
                "block3_2_add",
                "block4_3_add",
                "block5_3_add",
                "block6_4_add",
                "top_relu6",
            ],
        ),
        (
            "mobilenet-v2",
            ["expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"],
        ),
        ("densenet121", ["pool1", "pool2_pool", "pool3_pool", "pool4_pool", "relu"]),
        (
            "convnext-tiny",
            [f"convnext_tiny_downsampling_layernorm_{i}" for i in range(3)] + ["layer_normalization"],
        ),
        ("inception-v3", ["activation_2", "activation_4", "mixed2", "mixed7", "mixed10"]),
    ],
)
def test_stages_of_a_family_end_where_its_blocks_do(keras, name, layers):
    # Names that Keras numbers over the whole process must not leak into the stages.
    for layer in (
        keras.layers.Activation("relu"),
        keras.layers.LayerNormalization(),
        keras.layers.BatchNormalization(),
    ):
        assert layer.name
    network = build_backbone(name, weights="none")
    assert [stage.layer for stage in network.stages] == layers


def test_stages_survive_saving(keras, tmp_path):
    network = build_backbone("mobilenet-v3-small", weights="none", input_size=64)
    network.model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    assert find_stages(loaded, network.backbone.family) == network.stages
