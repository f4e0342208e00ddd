"""The ledger: its algebra, and what it says when rows are lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import LedgerError
from millrace.storage.ledger import Ledger

counts = st.integers(0, 10**12)
reasons = st.dictionaries(st.sampled_from(["ragged", "encoding", "range"]), counts)
ledgers = st.builds(
    Ledger,
    rows_in=counts,
    rows_out=counts,
    quarantined=reasons,
    duplicates=counts,
    not_sampled=counts,
    other=reasons,
)


@given(ledgers, ledgers, ledgers)
def test_merge_is_associative_commutative_and_has_a_neutral(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert (a + b).model_dump_json() == (b + a).model_dump_json()
    assert a + Ledger() == a


@given(st.lists(ledgers, max_size=5))
def test_the_total_accounts_for_what_its_parts_do(parts):
    assert Ledger.total(parts).accounted == sum(part.accounted for part in parts)


@given(ledgers)
def test_json_gives_the_same_ledger(ledger):
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger


def test_a_lost_row_is_named_with_all_figures():
    ledger = Ledger(rows_in=10, rows_out=5, quarantined={"ragged": 2}, duplicates=1, other={"holdout": 1})
    with pytest.raises(LedgerError) as caught:
        ledger.check("clean")
    assert str(caught.value) == (
        "the ledger of clean doesn't balance, nothing was committed: expected 10 rows in; found 9 accounted for "
        "(10 rows in, 5 out, 2 quarantined (ragged 2), 1 duplicates, 1 holdout); 1 rows disappeared"
    )


def test_a_negative_count_is_no_ledger():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Ledger(quarantined={"ragged": -1})
