from collections import defaultdict

import numpy as np
import pytest

from dsmt_nnunet.dataset_conversion.phantom.acquisition import PROTOCOLS
from dsmt_nnunet.dataset_conversion.phantom.cohort import CohortSettings, draw_case, draw_cohort


@pytest.fixture(scope="module")
def cohort():
    return draw_cohort(seed=4, cases=400, size=48)


def test_a_case_does_not_depend_on_the_number_of_cases(cohort):
    assert draw_cohort(seed=4, cases=3, size=48) == cohort[:3]
    assert draw_case(4, 7, size=48) == cohort[7]
    assert draw_case(5, 7, size=48) != cohort[7]


def test_size_changes_the_grid_and_nothing_else(cohort):
    large = draw_case(4, 2, size=112)
    assert large.nodules == cohort[2].nodules
    assert large.thorax == cohort[2].thorax


def test_cases_of_a_patient_share_thorax_and_context(cohort):
    patients = defaultdict(list)
    for case in cohort:
        patients[case.patient_id].append(case)
    pairs = [cases for cases in patients.values() if len(cases) == 2]
    assert max(map(len, patients.values())) == 2
    assert len(pairs) / len(patients) == pytest.approx(0.15, abs=0.05)
    for one, other in pairs:
        assert (one.thorax, one.haze, one.scarring) == (other.thorax, other.haze, other.scarring)
        assert one.nodules != other.nodules
    assert len({case.thorax for case in cohort}) == len(patients)


def test_shares_follow_the_settings(cohort):
    assert np.mean([len(case.nodules) == 2 for case in cohort]) == pytest.approx(0.10, abs=0.05)
    unknown = [len(nodule.unknown_signs) / 2 for case in cohort for nodule in case.nodules]
    assert np.mean(unknown) == pytest.approx(0.05, abs=0.02)
    settings = CohortSettings(two_nodules=1, two_cases=1, unknown_signs=1)
    one, other = draw_cohort(4, 2, settings=settings)
    assert one.patient_id == other.patient_id
    assert len(one.nodules) == 2
    assert one.nodules[0].labels["bubble_lucency"] is None
    assert one.nodules[0].labels["invasiveness"] is not None


def test_labels_name_what_was_drawn(cohort):
    for nodule in (nodule for case in cohort for nodule in case.nodules):
        assert nodule.labels["invasiveness"] == ("invasive" if nodule.invasive else "non-invasive")
        if "pleural_retraction" not in nodule.unknown_signs:
            assert nodule.labels["pleural_retraction"] == ("present" if nodule.pleural_retraction else "absent")


def test_external_cases_have_their_own_patients_and_protocol(cohort):
    external = draw_cohort(4, 40, "external", size=48)
    test = draw_cohort(4, 40, "test", size=48)
    assert {case.protocol for case in external} == {"C"}
    assert {case.protocol for case in cohort} == {case.protocol for case in test} == {"A", "B"}
    ids = [{case.patient_id for case in group} for group in (cohort, test, external)]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]
    assert not ids[1] & ids[2]


def test_two_nodules_lie_apart():
    settings = CohortSettings(two_nodules=1)
    for case in draw_cohort(1, 200, settings=settings):
        one, other = (np.array(nodule.centre_xyz_mm(case.thorax)) for nodule in case.nodules)
        assert np.linalg.norm(one - other) > 30


def test_nodules_lie_inside_every_field_of_view(cohort):
    for case in cohort + draw_cohort(4, 100, "external", size=48):
        grid = PROTOCOLS[case.protocol].grid(case.size)
        for nodule in case.nodules:
            for axis, value in zip(grid.axes, nodule.centre_xyz_mm(case.thorax)[::-1], strict=True):
                assert axis[0] + nodule.diameter_mm < value < axis[-1] - nodule.diameter_mm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "validation"}, "'validation'"),
        ({"size": 8}, "got 8"),
        ({"size": 1000}, "got 1000"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_case(1, 0, **arguments)


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="two_nodules"):
        CohortSettings(two_nodules=1.5)
