from __future__ import annotations

import numpy as np

from flambeau.text.documents import Documents, offsets_of


def test_documents_are_slices_of_one_row_of_numbers():
    documents = Documents.from_lists([[5, 6, 7], [], [8]])
    assert len(documents) == 3
    assert documents.lengths.tolist() == [3, 0, 1]
    assert documents.n_tokens == 4
    assert documents[0].tolist() == [5, 6, 7]
    assert documents[1].tolist() == []
    assert documents[2].tolist() == [8]


def test_a_batch_fills_shorter_documents_up_at_their_end():
    documents = Documents.from_lists([[5, 6, 7], [], [8]])
    assert documents.padded(np.array([2, 0, 1]), 1).tolist() == [[8, 1, 1], [5, 6, 7], [1, 1, 1]]


def test_a_batch_of_empty_documents_is_one_place_wide():
    assert Documents.from_lists([[], []]).padded(np.array([0, 1]), 1).tolist() == [[1], [1]]


def test_a_batch_cuts_longer_documents_at_the_most_that_is_asked_for():
    assert Documents.from_lists([[5, 6, 7], [8]]).padded(np.array([0, 1]), 1, most=2).tolist() == [[5, 6], [8, 1]]


def test_a_document_is_turned_round_behind_its_first_token():
    documents = Documents.from_lists([[2, 5, 6, 7], [2, 8]])
    turned = documents.padded(np.array([0, 1]), 1, backwards=True, keep_start=True)
    assert turned.tolist() == [[2, 7, 6, 5], [2, 8, 1, 1]]


def test_documents_are_renumbered_when_they_are_read():
    table = np.array([0, 20, 30], dtype=np.int32)
    documents = Documents(np.array([1, 2, 2]), offsets_of(np.array([1, 2])), table)
    assert documents[1].tolist() == [30, 30]
    assert documents.padded(np.array([0, 1]), 1).tolist() == [[20, 1], [30, 30]]
    assert documents.at(np.array([[0, 2]])).tolist() == [[20, 30]]
