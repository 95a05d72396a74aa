from typing import Any

import pytest

from delivery.deploy.records import KEPT, OURS, Record, before, gone_back, read, write

IMAGE = "links@sha256:" + "0" * 64


def record(revision: int, **changes: Any) -> Record:
    return Record(**{"revision": revision, "updated": f"t{revision}", "image": IMAGE, "proven": True, **changes})


def revision(number: int, status: str = "superseded", description: str = OURS) -> dict[str, Any]:
    return {"revision": number, "updated": f"t{number}", "status": status, "description": description}


def test_back_is_the_last_that_went_all_the_way() -> None:
    history = [revision(1), revision(2), revision(3, "deployed")]
    assert before([record(1), record(2)], history, 4) == 2
    assert before([record(1), record(2), record(3)], history, 3) == 2
    assert before([record(3)], history, 3) is None


def test_one_of_ours_that_was_never_finished_is_not_good_though_helm_takes_it_for_good() -> None:
    assert before([record(1)], [revision(1), revision(2, "deployed")], 3) == 1
    assert before([], [revision(1, "deployed")], 2) is None


def test_what_somebody_has_released_by_other_means_is_good() -> None:
    by_hand = "Upgrade complete"
    assert before([record(1)], [revision(1), revision(2, "deployed", by_hand)], 3) == 2
    assert before([], [revision(1, "deployed", "Install complete")], 2) == 1
    assert before([record(1)], [revision(1), revision(2, "failed", by_hand)], 3) == 1
    # Before the last one with a record: it was not good enough to be kept.
    assert before([record(2)], [revision(1, description=by_hand), revision(2, "deployed")], 3) == 2
    assert before([record(2)], [revision(1, description=by_hand), revision(2, "deployed")], 2) is None


def test_records_of_revisions_that_helm_no_longer_has_are_dropped() -> None:
    text = write([record(1), record(2)])
    assert read(text, [revision(2)]) == [record(2)]
    assert read("", [revision(2)]) == []


def test_a_release_made_anew_does_not_inherit_records() -> None:
    text = write([record(1, updated="long ago")])
    assert read(text, [revision(1)]) == []


def test_there_is_an_end_to_what_is_kept() -> None:
    many = [record(number) for number in range(KEPT + 5)]
    assert read(write(many), [revision(number) for number in range(KEPT + 5)]) == many[5:]


def test_after_a_rollback_there_is_no_way_back_to_what_was_left() -> None:
    kept = gone_back([record(1), record(2), record(3)], 2, revision(4, "deployed", "Rollback to 2"))
    assert kept == [record(1), record(4)]
    assert before(kept, [revision(n) for n in range(1, 4)] + [revision(4, "deployed", "Rollback to 2")], 4) == 1


def test_a_rollback_to_one_without_a_record_leaves_those_before_it() -> None:
    assert gone_back([record(1), record(3)], 2, revision(4)) == [record(1)]


@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_rollback_is_good_as_what_it_went_back_to(back: int) -> None:
    kept = gone_back([record(1, proven=False), record(2), record(3)], back, revision(9))
    assert kept[-1] == record(9, proven=back != 1)
