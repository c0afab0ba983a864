from dataclasses import replace

from cxrtransfer.report.sections.subgroups import subgroups_section


def test_groups_are_those_of_the_file_names(study):
    section = subgroups_section(study)

    assert section is not None
    assert "12 bacterial, 12 viral and 24 normal test images" in section.text[0]
    (figure,) = section.figures
    ticks = [label.get_text() for label in figure.axes.get_xticklabels()]
    assert ticks == ["bacterial", "viral", "normal"]


def test_other_file_names_have_no_section(study):
    test = study.chosen.test
    names = (*test.ids[:-1], "anything.png")
    run = replace(study.chosen, test=replace(test, ids=names))

    assert subgroups_section(replace(study, runs=(run,))) is None


def test_names_that_other_programs_write_have_no_section(study):
    test = study.chosen.test
    names = tuple(f"IM-{index:04}-0001.png" for index in range(len(test.ids)))
    run = replace(study.chosen, test=replace(test, ids=names))

    assert subgroups_section(replace(study, runs=(run,))) is None
