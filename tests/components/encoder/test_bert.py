"""The packed forward pass and the scalar mix, against transformers' BERT on each text alone, with random weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertModel

from components.encoder import bert as module
from components.encoder.bert import (
    Linear,
    PackedBert,
    ScalarMix,
    _attend_each,
    _attend_varlen,
    _Bounds,
    can_pack,
    linear,
    packing_works,
)
from components.encoder.weights import BertConfig, Weights

CPU = torch.device("cpu")
PIECES = 90
MIX = torch.tensor([0.3, -1.2, 2.0, 0.1])
POOLINGS = pytest.mark.parametrize("pooling", ["cls", "mean", "scalar_mix"])


def bert(layers: int = 3, *, hidden_act: str = "gelu", seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=PIECES,
        hidden_size=48,
        num_hidden_layers=layers,
        num_attention_heads=3,
        intermediate_size=80,
        max_position_embeddings=64,
        hidden_act=hidden_act,
        initializer_range=0.2,  # wide enough that a wrong layer is far off
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:  # initially 0 and 1, which would hide a mistake
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def weights_of(model: BertModel, *, mix: torch.Tensor | None = None) -> Weights:
    return Weights(BertConfig.model_validate(model.config.to_dict()), dict(model.state_dict()), mix)


def textbook(model: BertModel, rows: list[np.ndarray], *, pooling: str, mix: torch.Tensor = MIX) -> np.ndarray:
    """Each row alone through BertModel; the mix as the paper writes it, a softmax and a sum."""
    vectors = []
    for row in rows:
        with torch.no_grad():
            states = model(torch.from_numpy(row).long()[None], output_hidden_states=True).hidden_states
        if pooling == "mean":
            vectors.append(states[-1][0].mean(dim=0))
        elif pooling == "cls":
            vectors.append(states[-1][0, 0])
        else:
            shares = torch.exp(mix) / torch.exp(mix).sum()
            vectors.append(sum(share * state[0, 0] for share, state in zip(shares, states, strict=True)))
    return torch.stack(vectors).numpy()


def rows_of(lengths: list[int], *, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, PIECES, size=length).astype(np.int32) for length in lengths]


def packed(weights: Weights, pooling: str, *, dtype: torch.dtype = torch.float32) -> PackedBert:
    return PackedBert(weights, pooling=pooling, device=CPU, dtype=dtype)  # type: ignore[arg-type]


@pytest.fixture(params=["oneDNN", "plain"])
def either_linear(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both kinds of linear layers."""
    if request.param == "plain":
        monkeypatch.setattr(module, "packing_works", lambda dtype: False)
    elif not packing_works(torch.float32):
        pytest.skip("this PyTorch or this processor has no prepacked oneDNN layers")
    yield


@POOLINGS
@pytest.mark.parametrize("lengths", [[1], [5, 1, 64, 17, 17], [1, 1, 1], [2] * 9])
@pytest.mark.usefixtures("either_linear")
def test_equals_bert_on_each_text_alone(pooling: str, lengths: list[int]) -> None:
    model, rows = bert(), rows_of(lengths)
    vectors = packed(weights_of(model, mix=MIX), pooling)(rows)
    assert vectors.dtype == torch.float32
    assert np.abs(vectors.numpy() - textbook(model, rows, pooling=pooling)).max() < 2e-5


@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=12),
    layers=st.integers(1, 3),
    pooling=st.sampled_from(["cls", "mean", "scalar_mix"]),
    seed=st.integers(0, 99),
)
def test_equals_bert_for_any_lengths(lengths: list[int], layers: int, pooling: str, seed: int) -> None:
    model, rows = bert(layers, seed=seed), rows_of(lengths, seed=seed)
    mix = torch.linspace(-1, 1, layers + 1)
    expected = textbook(model, rows, pooling=pooling, mix=mix)
    assert np.abs(packed(weights_of(model, mix=mix), pooling)(rows).numpy() - expected).max() < 5e-5


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
@pytest.mark.usefixtures("either_linear")
def test_every_activation_equals_transformers(activation: str) -> None:
    model, rows = bert(hidden_act=activation), rows_of([7, 20])
    vectors = packed(weights_of(model), "cls")(rows).numpy()
    assert np.abs(vectors - textbook(model, rows, pooling="cls")).max() < 2e-5


@POOLINGS
@pytest.mark.usefixtures("either_linear")
def test_bfloat16_is_close_to_float32(pooling: str) -> None:
    model, rows = bert(), rows_of([30, 12, 64])
    expected = textbook(model, rows, pooling=pooling)
    vectors = packed(weights_of(model, mix=MIX), pooling, dtype=torch.bfloat16)(rows).numpy()
    cosines = (vectors * expected).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    assert vectors.dtype == np.float32
    assert cosines.min() > 0.995
    assert np.abs(vectors - expected).max() > 0  # it is not float32


def test_unsupported_activations_and_missing_mixes_are_refused() -> None:
    weights = weights_of(bert(hidden_act="relu"))
    assert not can_pack(weights.config)
    with pytest.raises(ValueError, match="relu"):
        packed(weights, "cls")
    with pytest.raises(ValueError, match="scalar mix"):
        packed(weights_of(bert()), "scalar_mix")


def test_pause_is_called_twice_per_layer_and_may_encode_or_stop() -> None:
    model = packed(weights_of(bert(layers=3)), "cls")
    rows, calls = rows_of([4, 9]), []
    expected = model(rows)
    found = model(rows, pause=lambda: calls.append(model(rows_of([6]))))  # a pass within the pass
    assert len(calls) == 6
    assert torch.equal(found, expected)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model(rows, pause=stop)


def test_later_changes_of_the_file_change_nothing() -> None:
    weights, rows = weights_of(bert()), rows_of([12])
    model = packed(weights, "mean")
    before = model(rows)
    with torch.no_grad():
        for tensor in weights.tensors.values():
            tensor.zero_()
    assert torch.equal(model(rows), before)


# Linear layers


class RowCounts(TorchDispatchMode):
    """Records the numbers of rows that are multiplied by a weight with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "linear" in str(func) or "addmm" in str(func):
            self.seen.add(len(args["addmm" in str(func)]))  # addmm takes the bias first
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("either_linear")
def test_few_numbers_of_rows_are_multiplied() -> None:
    """oneDNN keeps code for each of them: for every number of tokens of a corpus it would hold a gigabyte."""
    model = packed(weights_of(bert(layers=1)), "mean")
    with RowCounts() as rows:
        for length in range(3, 40):
            model(rows_of([length, length + 20]))
    assert rows.seen and not {count for count in rows.seen if count % 32}


@pytest.mark.parametrize("fault", ["missing", "raises", "differs"])
def test_missing_or_wrong_operators_are_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Linear.__call__

    def broken(self: Linear, x: torch.Tensor, *, activation: str = "") -> torch.Tensor:
        if not self._packed:
            return real(self, x, activation=activation)
        if fault == "missing":
            return torch.ops.mkldnn._there_is_no_such_operator(x)
        if fault == "raises":
            raise NotImplementedError("no such kernel")
        return real(self, x, activation=activation) + 1

    packing_works.cache_clear()
    monkeypatch.setattr(Linear, "__call__", broken)
    try:
        assert not packing_works(torch.float32)
        assert not linear(torch.randn(4, 4), torch.randn(4))._packed
    finally:
        packing_works.cache_clear()


# CUDA


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("firsts", [False, True])
def test_variable_length_attention_equals_attention_text_by_text(firsts: bool) -> None:
    device = torch.device("cuda")
    bounds = _Bounds(torch.tensor([0, 3, 10, 11], device=device, dtype=torch.int32), ((0, 3), (3, 10), (10, 11)), 7)
    q, k, v = (torch.randn(11, 4, 64, device=device, dtype=torch.bfloat16) for _ in range(3))
    q = q[[0, 3, 10]] if firsts else q
    assert torch.allclose(_attend_varlen(q, k, v, bounds), _attend_each(q, k, v, bounds), atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@POOLINGS
def test_a_gpu_gives_nearly_the_vectors_of_the_cpu(pooling: str) -> None:
    weights, rows = weights_of(bert(), mix=MIX), rows_of([1, 30, 64, 5])
    expected = packed(weights, pooling)(rows)
    for dtype, least in ((torch.bfloat16, 0.99), (torch.float32, 0.99999)):
        model = PackedBert(weights, pooling=pooling, device=torch.device("cuda"), dtype=dtype)  # type: ignore[arg-type]
        assert torch.cosine_similarity(model(rows), expected).min() > least


# The scalar mix


def test_the_mix_weighs_by_softmax() -> None:
    mix = ScalarMix(torch.tensor([0.0, float(np.log(3.0))]))
    assert mix.weights.tolist() == pytest.approx([0.25, 0.75])
    states = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]])
    assert mix(states).tolist() == [[pytest.approx(1.0), pytest.approx(3.0)]]


def test_an_untrained_mix_is_the_mean_and_trainable() -> None:
    mix, states = ScalarMix.equal(12), torch.randn(13, 2, 5)
    assert torch.allclose(mix(states), states.mean(dim=0), atol=1e-6)
    mix(states).sum().backward()
    assert [name for name, _ in mix.named_parameters()] == ["scalars"]
    assert mix.scalars.grad is not None


@pytest.mark.parametrize("scalars", [torch.zeros(1), torch.zeros(1, 13), torch.tensor([0.0, float("nan")])])
def test_an_invalid_mix_is_refused(scalars: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="scalar"):
        ScalarMix(scalars)
