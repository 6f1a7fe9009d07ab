"""The codebook: the nearest code, learnt in every way as its paper says, and exactly resumed."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.codecs.codebook import (
    START_BATCHES,
    STRETCH,
    CodebookOptions,
    VectorQuantizer,
    rotate,
)
from limner.errors import ConfigError


@pytest.fixture
def book() -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(50, 4)


def test_the_nearest_on_the_sphere_is_taken(book: VectorQuantizer) -> None:
    z = torch.randn(2, 4, 3, 3) * 5
    quantised, codes, _ = book(z)
    unit = F.normalize(z, dim=1).permute(0, 2, 3, 1).reshape(-1, 4)
    distances = torch.cdist(unit, F.normalize(book.codebook, dim=-1))
    assert torch.equal(codes.flatten(), distances.argmin(-1))
    torch.testing.assert_close(quantised, book.embed(codes))
    torch.testing.assert_close(quantised.norm(dim=1), torch.ones(2, 3, 3))


def test_length_does_not_matter(book: VectorQuantizer) -> None:
    z = torch.randn(1, 4, 5, 5)
    assert torch.equal(book(z)[1], book(z * 100)[1])


def test_every_entry_is_its_own_nearest(book: VectorQuantizer) -> None:
    codes = torch.arange(50).view(1, 5, 10)
    assert torch.equal(book(book.embed(codes))[1], codes)


def test_codebook_and_encoder_both_learn(book: VectorQuantizer) -> None:
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    quantised, _, loss = book(z)
    (quantised.sum() * 0 + loss).backward()
    assert z.grad is not None and book.codebook.grad is not None
    assert loss > 0 and z.grad.abs().sum() > 0 and book.codebook.grad.abs().sum() > 0
    book.codebook.grad = z.grad = None
    (book(z)[0] * torch.randn(2, 4, 3, 3)).sum().backward()
    assert z.grad is not None and z.grad.abs().sum() > 0
    assert book.codebook.grad is None or book.codebook.grad.abs().sum() == 0


def test_a_learned_codebook_comes_nearer(book: VectorQuantizer) -> None:
    z = torch.randn(8, 4, 6, 6)
    optimizer = torch.optim.SGD(book.parameters(), lr=20)
    losses = []
    for _ in range(20):
        loss = book(z)[2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def quantizer(vocabulary: int = 16, dimensions: int = 4, **options: Any) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(vocabulary, dimensions, CodebookOptions(**options)).train()


def batch(seed: int, rows: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, 5, 5, generator=generator)


def flatten(z: Tensor) -> Tensor:
    return z.movedim(1, -1).flatten(0, -2)


WAYS = [
    {"update": update, "start": start, "reset": reset, "normalised": normalised}
    for update in ("gradient", "ema")
    for start in ("random", "kmeans")
    for reset in (0.0, 0.3)
    for normalised in (False, True)
]
every_way = pytest.mark.parametrize(
    "way", WAYS, ids=lambda way: "-".join(str(value) for value in way.values())
)


def train(book: VectorQuantizer, steps: range) -> None:
    optimizer = torch.optim.SGD([*book.parameters()], lr=0.1) if [*book.parameters()] else None
    for step in steps:
        _, _, loss = book(batch(step))
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@every_way
def test_an_interrupted_training_is_an_uninterrupted_one(way: dict[str, Any]) -> None:
    """Cut before, amid and after the k-means start; the state and the random source are all."""
    for cut in (0, 2, 6):
        straight = quantizer(**way)
        train(straight, range(cut))
        state = {key: value.clone() for key, value in straight.state_dict().items()}
        source = torch.get_rng_state()
        train(straight, range(cut, 9))
        resumed = quantizer(**way)
        resumed.load_state_dict(state)
        torch.set_rng_state(source)
        train(resumed, range(cut, 9))
        for key, value in resumed.state_dict().items():
            assert torch.equal(value, straight.state_dict()[key]), key


@every_way
def test_only_training_changes_anything(way: dict[str, Any]) -> None:
    book = quantizer(**way)
    train(book, range(6))
    state = {key: value.clone() for key, value in book.state_dict().items()}
    source = torch.get_rng_state()
    codes = book.encode(batch(7))
    quantised, found, _ = book.eval()(batch(7))
    assert torch.equal(codes, found) and torch.equal(book.train().encode(batch(7)), found)
    torch.testing.assert_close(quantised, book.embed(codes))
    assert torch.equal(torch.get_rng_state(), source)
    assert all(torch.equal(value, state[key]) for key, value in book.state_dict().items())


@every_way
def test_codes_of_a_forward_are_the_nearest_and_embed_as_quantised(way: dict[str, Any]) -> None:
    book = quantizer(**way)
    train(book, range(6))
    book.eval()
    z = batch(7)
    quantised, codes, _ = book(z)
    vectors, codebook = z.movedim(1, -1), book.codebook.detach()
    if way["normalised"]:
        vectors, codebook = F.normalize(vectors, dim=-1), F.normalize(codebook, dim=-1)
        torch.testing.assert_close(quantised.norm(dim=1), torch.ones(4, 5, 5))
    wanted = torch.cdist(vectors.flatten(0, -2), codebook).argmin(-1)
    assert torch.equal(codes.flatten(), wanted)
    torch.testing.assert_close(quantised, book.embed(codes))


def test_running_means_are_those_of_the_paper() -> None:
    """Appendix A.1 of arXiv 1711.00937, with its counts N and sums m kept apart."""
    book = quantizer(update="ema", normalised=False, decay=0.9)
    counts = torch.full((16,), 100 / 16, dtype=torch.float64)
    sums = book.codebook.double() * counts[:, None]
    for step in range(120):
        z = flatten(batch(step)).double()
        members = F.one_hot(torch.cdist(z, sums / counts[:, None]).argmin(-1), 16).double()
        book(batch(step))
        decay = min(0.9, (step + 1) / (step + 11))
        counts = decay * counts + (1 - decay) * members.sum(0)
        sums = decay * sums + (1 - decay) * members.T @ z
        torch.testing.assert_close(
            book.codebook.double(), sums / counts[:, None], atol=1e-5, rtol=0
        )
        torch.testing.assert_close(book.use.double(), counts, atol=1e-4, rtol=0)
    assert not [*book.parameters()]


def test_the_loss_is_equation_3() -> None:
    z = batch(0)
    for update in ("gradient", "ema"):
        book = quantizer(update=update, normalised=False, commitment=0.5).eval()
        distance = (book.embed(book.encode(z)) - z).square().mean()
        wanted = distance * (1.5 if update == "gradient" else 0.5)
        torch.testing.assert_close(book(z)[2], wanted)


def test_gradients_of_the_loss_reach_codebook_and_encoder_as_in_equation_3() -> None:
    book = quantizer(normalised=False, commitment=0.5)
    z = batch(0).requires_grad_()
    _, codes, loss = book(z)
    loss.backward()
    assert z.grad is not None and book.codebook.grad is not None
    towards = 2 * (z - book.embed(codes)).detach() / z.numel()
    torch.testing.assert_close(z.grad, 0.5 * towards)
    wanted = torch.zeros(16, 4).index_add(0, codes.flatten(), -flatten(towards))
    torch.testing.assert_close(book.codebook.grad, wanted)


def clusters(seed: int, rows: int) -> Tensor:
    """Return vectors (rows, 4, 5, 5) close to 16 places: the corners of a cube."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor(list(itertools.product((-3.0, 3.0), repeat=4)))
    chosen = corners[torch.randint(16, (rows, 5, 5), generator=generator)]
    noise = 0.1 * torch.randn(chosen.shape, generator=generator)
    return (chosen + noise).movedim(-1, 1)


@pytest.mark.parametrize("update", ["gradient", "ema"])
@pytest.mark.parametrize("rows", [8, 1])
def test_k_means_finds_the_clusters(update: str, rows: int) -> None:
    book = quantizer(64, update=update, start="kmeans", normalised=False)
    for step in range(START_BATCHES):
        book(clusters(step, rows))
    _, codes, _ = book.eval()(clusters(9, 8))
    vectors = book.embed(codes)
    assert (vectors - clusters(9, 8)).square().mean() < 0.05
    assert len(codes.unique()) >= 16
    assert book.batches == START_BATCHES and book.use.sum() == 25 * rows


def test_a_start_from_one_batch_after_the_other_is_a_mean_of_them() -> None:
    book = quantizer(2, update="ema", start="kmeans", normalised=False)
    batches = [batch(step) * 0.1 + torch.tensor([5.0, 0, 0, 0]).view(1, 4, 1, 1) for step in (0, 1)]
    mirrored = [torch.cat([each, -each]) for each in batches]
    for each in mirrored:
        book(each)
    middle = flatten(torch.cat(batches)).mean(0)
    found = book.codebook[book.codebook[:, 0].argmax()]
    torch.testing.assert_close(found, middle, atol=1e-4, rtol=0)


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_dead_codes_come_back_on_vectors_of_the_batch(update: str) -> None:
    book = quantizer(32, update=update, reset=0.2, normalised=False, decay=0.5)
    with torch.no_grad():
        book.codebook[8:] += 100
    used = []
    for step in range(12):
        z = batch(step)
        used.append(len(book(z)[1].unique()))
        if step == 6:
            assert book.codebook.abs().max() < 10
    assert used[0] <= 8 and min(used[-3:]) > 24


def test_codes_are_left_alone_without_resets() -> None:
    book = quantizer(32, update="ema", normalised=False, decay=0.5)
    book.codebook[8:] += 100
    far = book.codebook[8:].clone()
    for step in range(60):
        book(batch(step))
    torch.testing.assert_close(book.codebook[8:], far)


def test_more_codes_than_vectors_can_be_started_and_reset() -> None:
    book = quantizer(200, update="ema", start="kmeans", reset=0.5, normalised=False, decay=0.1)
    for step in range(8):
        _, codes, loss = book(batch(step, rows=1))
        assert book.codebook.isfinite().all() and loss.isfinite()
    assert len(codes.unique()) > 15


def test_the_gradient_passes_straight_through() -> None:
    book, z = quantizer(normalised=False), batch(0).requires_grad_()
    toward = batch(1)
    (book(z)[0] * toward).sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, toward)


def rotation_by_matrix(vector: Tensor, chosen: Tensor) -> Tensor:
    """The smallest rotation of the plane that turns one onto the other, times the stretch."""
    e, q = vector / vector.norm(), chosen / chosen.norm()
    across = F.normalize(q - (q @ e) * e, dim=0)
    cosine, sine = q @ e, q @ across
    plane = torch.stack([e, across])
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    rotation = torch.eye(len(e), dtype=e.dtype) + plane.T @ (turn - torch.eye(2)) @ plane
    return rotation * (chosen.norm() / vector.norm())


def test_the_rotation_trick_turns_the_gradient_as_the_vector() -> None:
    vectors, chosen = (flatten(batch(seed)).double()[:50] for seed in (0, 1))
    vectors.requires_grad_()
    turned = rotate(vectors, chosen)
    torch.testing.assert_close(turned, chosen)
    toward = flatten(batch(2)).double()[:50]
    (gradient,) = torch.autograd.grad((turned * toward).sum(), vectors)
    for row in range(50):
        matrix = rotation_by_matrix(vectors[row].detach(), chosen[row])
        torch.testing.assert_close(matrix @ vectors[row], chosen[row])
        torch.testing.assert_close(gradient[row], matrix.T @ toward[row])


def rotate_to(source: Tensor, target: Tensor) -> Tensor:
    """The rotation trick as vector-quantize-pytorch 1.29 writes it."""
    lengths = source.norm(dim=-1, keepdim=True), target.norm(dim=-1, keepdim=True)
    u, q = source / lengths[0].clamp(min=1e-6), target / lengths[1].clamp(min=1e-6)
    e, w = source[:, None], F.normalize(u + q, dim=1).detach()
    turned = (
        e
        - 2 * (e @ w[:, :, None] @ w[:, None])
        + 2 * (e @ u[:, :, None].detach() @ q[:, None].detach())
    )[:, 0]
    return turned * (lengths[1] / lengths[0].clamp(min=1e-6)).detach()


def test_the_rotation_trick_is_the_peer_s_away_from_zero() -> None:
    source, target, toward = (flatten(batch(seed))[:50] for seed in (0, 1, 2))
    gradients = []
    for trick in (rotate, rotate_to):
        vectors = source.clone().requires_grad_()
        turned = trick(vectors, target)
        torch.testing.assert_close(turned, target)
        gradients.append(torch.autograd.grad((turned * toward).sum(), vectors)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-12, 1e-9, 1e-6, 1e-3, 1.0])
def test_near_zero_the_rotation_trick_does_not_blow_a_gradient_up(length: float) -> None:
    direction = F.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(3)), dim=1)
    vectors = (direction * length).requires_grad_()
    chosen = F.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(4)), dim=1)
    toward = F.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(5)), dim=1)
    (gradient,) = torch.autograd.grad((rotate(vectors, chosen) * toward).sum(), vectors)
    assert float(gradient.norm(dim=1).max()) <= STRETCH * 1.001
    if length < 1e-12:  # no direction to turn: straight through
        torch.testing.assert_close(gradient, toward)


def test_the_rotation_trick_is_finite_where_no_rotation_is() -> None:
    vectors = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1e-30, 0, 0]], requires_grad=True)
    turned = rotate(vectors, torch.tensor([[0, 1.0, 0], [-1, 0, 0], [0, 2, 0]]))
    turned.sum().backward()
    assert turned.isfinite().all() and vectors.grad is not None and vectors.grad.isfinite().all()


def test_a_rotated_gradient_goes_through_the_quantiser() -> None:
    z, toward = batch(0).requires_grad_(), batch(1)
    book = quantizer(gradient="rotation", normalised=False)
    quantised, codes, _ = book(z)
    torch.testing.assert_close(quantised, book.embed(codes), rtol=0, atol=0)
    (quantised * toward).sum().backward()
    wanted = z.detach().requires_grad_()
    (rotate(flatten(wanted), flatten(book.embed(codes))) * flatten(toward)).sum().backward()
    assert z.grad is not None and wanted.grad is not None
    torch.testing.assert_close(z.grad, wanted.grad)
    assert not torch.allclose(z.grad, toward)


def test_autocast_does_not_touch_codes() -> None:
    book = quantizer(40, normalised=False).eval()
    z = batch(0)
    wanted = book(z)
    with torch.autocast("cpu", torch.bfloat16):
        quantised, codes, loss = book(z)
    assert torch.equal(codes, wanted[1]) and torch.equal(quantised, wanted[0])
    assert loss.dtype == torch.float32 and torch.equal(loss, wanted[2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"update": "emma"}, "update is 'emma'; expected gradient or ema; did you mean 'ema'?"),
        ({"start": "k-means"}, "start is 'k-means'; expected random or kmeans; did you mean"),
        ({"gradient": "none"}, "gradient is 'none'; expected straight_through or rotation"),
        ({"decay": 1.0}, "decay is 1; expected a number of at least 0 and below 1"),
        ({"reset": -0.1}, "reset is -0.1; expected a number of at least 0 and below 1"),
        ({"commitment": float("nan")}, "commitment is nan; expected a number of at least 0"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        CodebookOptions(**options)
    assert words in str(raised.value)
