from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.data.cards import get_card
from avq.data.splits import LEFT_OUT, SPLITS, NameRule, Part, assign, content_fingerprint

SHARES = {"validation": 0.1, "test": 0.2}
digest_lists = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=60)


def digests(values: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32)


def random_digests(count: int) -> np.ndarray:
    return digests([hashlib.sha256(b"%d" % number).digest() for number in range(count)])


def no_parts(count: int) -> np.ndarray:
    return np.zeros(count, np.uint8)


@given(digest_lists)
def test_the_rule_in_plain_python(values: list[bytes]) -> None:
    """Eight bytes choose the split, the others the order: written out as the cards say."""
    found = assign(digests(values), no_parts(len(values)), SHARES)
    for value, split in zip(values, found.split, strict=True):
        place = int.from_bytes(value[:8], "big") / 2**64
        assert SPLITS[split] == ("test" if place < 0.2 else "validation" if place < 0.2 + 0.1 else "train")
    for number, name in enumerate(SPLITS):
        members = [values[i][8:] for i in np.flatnonzero(found.split == number)]
        ordered = [values[i][8:] for i in np.argsort(found.place) if found.split[i] == number]
        assert ordered == sorted(members)
        assert found.counts[name] == len(members)
        assert sorted(found.place[found.split == number]) == list(range(len(members)))


def test_splits_have_their_shares() -> None:
    counts = assign(random_digests(20_000), no_parts(20_000), SHARES).counts
    assert counts["test"] == pytest.approx(4000, abs=250)
    assert counts["validation"] == pytest.approx(2000, abs=200)


@given(digest_lists, digest_lists)
def test_added_images_move_none(values: list[bytes], more: list[bytes]) -> None:
    before = assign(digests(values), no_parts(len(values)), SHARES)
    after = assign(digests(values + more), no_parts(len(values + more)), SHARES)
    assert np.array_equal(before.split, after.split[: len(values)])


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(list(Part))), min_size=1, max_size=60))
@settings(max_examples=200)
def test_copies_share_one_split_for_any_names(images: list[tuple[int, Part]]) -> None:
    pixels = random_digests(9)[[number for number, _ in images]]
    parts = np.array([part for _, part in images], np.uint8)
    found = assign(pixels, parts, SHARES)
    for number in {number for number, _ in images}:
        copies = [i for i, (other, _) in enumerate(images) if other == number]
        homes = {int(found.split[i]) for i in copies} - {LEFT_OUT}
        assert len(homes) == 1, "exactly one split has it"
        for i in copies:
            if found.split[i] == LEFT_OUT:
                assert found.split[found.copy_of[i]] in homes
                assert images[found.copy_of[i]][0] == number
                assert found.place[i] == -1
        wanted = {part for other, part in images if other == number}
        if Part.TEST in wanted:
            assert homes == {SPLITS.index("test")}


def test_own_train_holds_out_validation_by_the_hash() -> None:
    pixels = random_digests(5000)
    found = assign(pixels, np.full(5000, Part.OWN_TRAIN, np.uint8), SHARES)
    assert found.counts["test"] == 0
    assert found.counts["validation"] == pytest.approx(500, abs=90)
    by_hash = assign(pixels, no_parts(5000), SHARES)
    assert np.array_equal(found.split == 1, by_hash.split == 1)


def rule(card: object, keys: list[str]) -> NameRule:
    found = NameRule(card)  # type: ignore[arg-type]
    for key in keys:
        found.see(key)
    return found


@pytest.mark.parametrize("form", ["{}.jpg", "{:05}.jpg", "img{:08}.png", "imgHQ{:05}.png", "deep/CelebA-HQ-img/{}.jpg"])
def test_canonical_names_of_celebahq(form: str) -> None:
    keys = [form.format(index) for index in range(30_000)]
    names = rule(get_card("celebahq"), keys)
    assert names.applies
    assert names.part(keys[20_999]) is Part.TRAIN
    assert names.part(keys[21_000]) is names.part(keys[23_999]) is Part.VALIDATION
    assert names.part(keys[24_000]) is names.part(keys[29_999]) is Part.TEST
    assert names.part("another.jpg") is Part.NOTHING
    assert not rule(get_card("celebahq"), keys[1:]).applies
    assert not rule(get_card("celebahq"), [*keys, "other/" + keys[7].rpartition("/")[2]]).applies


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("bedroom_train_lmdb/03b8", "bedroom_val_lmdb/0a"),
        ("train/n01440764/n01440764_1.JPEG", "val/n01440764/ILSVRC2012_val_1.JPEG"),
        ("data/train-00000-of-00294.parquet/n1.JPEG", "data/validation-00000-of-00014.parquet/n2.JPEG"),
        ("imagenet/ILSVRC/Data/CLS-LOC/train/n1/a.JPEG", "imagenet/ILSVRC/Data/CLS-LOC/val/a.JPEG"),
    ],
)
def test_own_splits_by_name(train: str, test: str) -> None:
    names = rule(get_card("imagenet"), [train, test])
    assert names.applies
    assert names.part(train) is Part.OWN_TRAIN
    assert names.part(test) is Part.TEST
    assert not rule(get_card("imagenet"), [train, train]).applies
    assert not rule(get_card("folder"), [train, test]).applies


def test_a_file_named_train_is_no_split() -> None:
    assert not rule(get_card("lsun-church"), ["train.jpg", "val.jpg", "trainstation/x.jpg", "valley/y.jpg"]).applies


@given(digest_lists, st.randoms())
def test_the_fingerprint_ignores_the_order_but_no_file_or_part(values: list[bytes], random: object) -> None:
    parts = no_parts(len(values))
    before = content_fingerprint(digests(values), parts)
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert content_fingerprint(digests(shuffled), parts) == before
    parts[0] = Part.TEST
    assert content_fingerprint(digests(values), parts) != before
    assert content_fingerprint(digests([*values, values[0]]), no_parts(len(values) + 1)) != before


def test_card_rules_have_what_they_need() -> None:
    card = get_card("celebahq")
    assert (card.rule, card.indices) == ("index", 30_000)
    assert get_card("lsun-bedroom").rule == get_card("lsun-church").rule == get_card("imagenet").rule == "own"
    assert card.model_copy(update={"rule": "hash"}).shares == SHARES
