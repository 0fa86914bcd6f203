"""The packed forward and the scalar mix against transformers' BERT, one text at a time, with random weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertModel

from components.encoder import linear as linear_module
from components.encoder.bert import PackedBert, ScalarMix, _attend_each, _Bounds, can_pack
from components.encoder.linear import PackedLinear, PlainLinear, linear, packing_works
from components.encoder.weights import BertSettings, Weights

CPU = torch.device("cpu")
PIECES = 90


def bert(layers: int = 3, *, hidden_act: str = "gelu", seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
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
            if name.endswith("bias") or "LayerNorm" in name:  # drawn as 0 and 1, which would hide a mistake
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def weights_of(model: BertModel, *, mix: torch.Tensor | None = None) -> Weights:
    config = model.config
    settings = BertSettings(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
        types=config.type_vocab_size,
        layer_norm_eps=config.layer_norm_eps,
        hidden_act=config.hidden_act,
        pad_id=0,
    )
    return Weights(config=settings, tensors=dict(model.state_dict()), mix=mix)


def textbook(model: BertModel, rows: list[np.ndarray], *, pooling: str, mix: torch.Tensor | None = None) -> np.ndarray:
    """Each row alone through BertModel; the mix as the paper writes it, a softmax and a sum."""
    found = []
    for row in rows:
        with torch.no_grad():
            states = model(torch.from_numpy(row).long()[None], output_hidden_states=True).hidden_states
        if pooling == "mean":
            found.append(states[-1][0].mean(dim=0))
        elif pooling == "cls":
            found.append(states[-1][0, 0])
        else:
            assert mix is not None
            shares = torch.exp(mix) / torch.exp(mix).sum()
            found.append(sum(share * state[0, 0] for share, state in zip(shares, states, strict=True)))
    return torch.stack(found).numpy()


def rows_of(lengths: list[int], *, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, PIECES, size=length).astype(np.int32) for length in lengths]


def packed(weights: Weights, pooling: str, *, dtype: torch.dtype = torch.float32) -> PackedBert:
    return PackedBert(weights, pooling=pooling, device=CPU, dtype=dtype)  # type: ignore[arg-type]


MIX = torch.tensor([0.3, -1.2, 2.0, 0.1])


@pytest.fixture(params=["oneDNN", "plain"])
def either_linear(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both kinds of linear layers: what must hold of one must hold of the other."""
    if request.param == "plain":
        monkeypatch.setattr(linear_module, "packing_works", lambda dtype: False)
    elif not packing_works(torch.float32):
        pytest.skip("this PyTorch or this processor has no prepacked oneDNN layers")
    yield request.param


@pytest.mark.parametrize("pooling", ["cls", "mean", "scalar_mix"])
@pytest.mark.parametrize("lengths", [[1], [64], [5, 1, 64, 17, 17], [1, 1, 1], [2] * 9])
def test_equals_bert_on_each_text_alone(either_linear: str, pooling: str, lengths: list[int]) -> None:
    model = bert()
    rows = rows_of(lengths)
    expected = textbook(model, rows, pooling=pooling, mix=MIX)
    found = packed(weights_of(model, mix=MIX), pooling)(rows)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - expected).max() < 2e-5


@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=12),
    layers=st.integers(1, 3),
    pooling=st.sampled_from(["cls", "mean", "scalar_mix"]),
    seed=st.integers(0, 99),
)
def test_equals_bert_whatever_the_lengths(lengths: list[int], layers: int, pooling: str, seed: int) -> None:
    model = bert(layers, seed=seed)
    mix = torch.linspace(-1, 1, layers + 1)
    rows = rows_of(lengths, seed=seed)
    expected = textbook(model, rows, pooling=pooling, mix=mix)
    assert np.abs(packed(weights_of(model, mix=mix), pooling)(rows).numpy() - expected).max() < 5e-5


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_every_activation_is_the_one_that_it_is_called(either_linear: str, activation: str) -> None:
    model = bert(hidden_act=activation)
    rows = rows_of([7, 20])
    found = packed(weights_of(model), "cls")(rows).numpy()
    assert np.abs(found - textbook(model, rows, pooling="cls")).max() < 2e-5


def test_another_activation_is_left_to_transformers() -> None:
    weights = weights_of(bert(hidden_act="relu"))
    assert not can_pack(weights.config)
    with pytest.raises(ValueError, match="relu"):
        packed(weights, "cls")


@pytest.mark.parametrize("pooling", ["cls", "mean", "scalar_mix"])
def test_bfloat16_is_near(either_linear: str, pooling: str) -> None:
    model = bert()
    rows = rows_of([30, 12, 64])
    expected = textbook(model, rows, pooling=pooling, mix=MIX)
    found = packed(weights_of(model, mix=MIX), pooling, dtype=torch.bfloat16)(rows).numpy()
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert found.dtype == np.float32
    assert cosines.min() > 0.995
    assert np.abs(found - expected).max() > 0  # it is not float32 under another name


def test_a_pause_comes_twice_a_layer_and_may_stop_the_work() -> None:
    model = packed(weights_of(bert(layers=3)), "cls")
    rows, asked = rows_of([4, 9]), []
    model(rows, pause=lambda: asked.append(1))
    assert len(asked) == 6

    def within() -> None:
        asked.append(model(rows_of([6])).shape)  # a pass within a pass

    expected = model(rows)
    assert torch.equal(model(rows, pause=within), expected)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model(rows, pause=stop)


def test_weights_that_change_on_disk_after_loading_change_nothing() -> None:
    source = bert()
    weights = weights_of(source)
    model = packed(weights, "mean")
    rows = rows_of([12])
    before = model(rows)
    with torch.no_grad():
        for tensor in weights.tensors.values():
            tensor.zero_()
    assert torch.equal(model(rows), before)


def test_a_mix_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="scalar mix"):
        packed(weights_of(bert()), "scalar_mix")


# Linear layers


class Rows(TorchDispatchMode):
    """Listens to which numbers of rows are multiplied by a weight with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "linear" in str(func) or "addmm" in str(func):
            self.seen.add(len(args["addmm" in str(func)]))  # a bias comes first there
        return func(*args, **(kwargs or {}))


def test_few_numbers_of_rows_are_ever_multiplied(either_linear: str) -> None:
    """oneDNN keeps code for each of them: with every number of tokens of a corpus it would hold a gigabyte."""
    model = packed(weights_of(bert(layers=1)), "mean")
    with Rows() as rows:
        for length in range(3, 40):
            model(rows_of([length, length + 20]))
    assert rows.seen and not {seen for seen in rows.seen if seen % 32}


def test_packed_and_plain_linear_layers_give_the_same() -> None:
    if not packing_works(torch.float32):
        pytest.skip("this PyTorch or this processor has no prepacked oneDNN layers")
    torch.manual_seed(3)
    weight, bias, x, residual = torch.randn(40, 24), torch.randn(40), torch.randn(7, 24), torch.randn(7, 40)
    one, other = PackedLinear(weight, bias), PlainLinear(weight, bias)
    assert torch.allclose(one(x), other(x), atol=1e-5)
    assert torch.allclose(one.added_to(residual, x), other.added_to(residual, x), atol=1e-5)
    for name in ("gelu", "gelu_new"):
        assert torch.allclose(one.activated(x, name), other.activated(x, name), atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "raises", "differs"])
def test_operators_that_are_gone_or_wrong_are_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packing_works.cache_clear()

    class Broken(PackedLinear):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            if fault == "missing":
                return torch.ops.mkldnn._there_is_no_such_operator(x)
            if fault == "raises":
                raise NotImplementedError("no such kernel")
            return super().__call__(x) + 1

    monkeypatch.setattr(linear_module, "PackedLinear", Broken)
    try:
        assert not packing_works(torch.float32)
        assert isinstance(linear(torch.randn(4, 4), torch.randn(4)), PlainLinear)
    finally:
        packing_works.cache_clear()


# Attention


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("firsts", [False, True])
def test_variable_length_attention_equals_that_text_by_text(firsts: bool) -> None:
    from components.encoder.bert import _attend_varlen

    device = torch.device("cuda")
    bounds = _Bounds(torch.tensor([0, 3, 10, 11], device=device, dtype=torch.int32), ((0, 3), (3, 10), (10, 11)), 7)
    q, k, v = (torch.randn(11, 4, 64, device=device, dtype=torch.bfloat16) for _ in range(3))
    q = q[[0, 3, 10]] if firsts else q
    assert torch.allclose(_attend_varlen(q, k, v, bounds), _attend_each(q, k, v, bounds), atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("pooling", ["cls", "mean", "scalar_mix"])
def test_bert_on_a_gpu_is_near_that_on_the_cpu(pooling: str) -> None:
    weights = weights_of(bert(), mix=MIX)
    rows = rows_of([1, 30, 64, 5])
    expected = packed(weights, pooling)(rows)
    for dtype, nearest in ((torch.bfloat16, 0.99), (torch.float32, 0.99999)):
        model = PackedBert(weights, pooling=pooling, device=torch.device("cuda"), dtype=dtype)  # type: ignore[arg-type]
        assert torch.cosine_similarity(model(rows), expected).min() > nearest


# The scalar mix


def test_the_mix_weighs_by_softmax() -> None:
    mix = ScalarMix(torch.tensor([0.0, float(np.log(3.0))]))
    assert mix.weights.tolist() == pytest.approx([0.25, 0.75])
    states = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]])
    assert mix(states).tolist() == [[pytest.approx(1.0), pytest.approx(3.0)]]


def test_an_untrained_mix_is_the_mean_and_can_be_learned() -> None:
    mix = ScalarMix.equal(12)
    assert mix.weights.tolist() == pytest.approx([1 / 13] * 13)
    states = torch.randn(13, 2, 5)
    assert torch.allclose(mix(states), states.mean(dim=0), atol=1e-6)
    mix(states).sum().backward()
    assert [name for name, _ in mix.named_parameters()] == ["scalars"]
    assert mix.scalars.grad is not None


@pytest.mark.parametrize("scalars", [torch.zeros(1), torch.zeros(1, 13), torch.tensor([0.0, float("nan")])])
def test_what_is_no_mix_is_refused(scalars: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="scalar"):
        ScalarMix(scalars)
