"""The report of a campaign: yields, spreads and searches, each as a table and as a figure."""

from __future__ import annotations

from typing import Any

from cosim.campaign.campaign import Campaign
from cosim.campaign.plan import WorstCaseSearch
from cosim.campaign.results import groups, search_result
from cosim.campaign.searches import Searcher, sentence
from cosim.report.campaign_figures import grid_figure, plot_search, yield_figure
from cosim.report.html import Report
from cosim.statistics.distance import WorstCaseDistance
from cosim.units import show

_POINTS = 12  # of the grid: more are better explored in a table


def page(campaign: Campaign) -> Report:
    """The page; of the figures those of the first points of the grid."""
    total, done = campaign.total(), len(campaign.store)
    outcomes = ", ".join(f"{count} {name}" for name, count in campaign.store.counts("outcome").items())
    title = campaign.plan.title or campaign.bench.file.title
    report = Report(
        title, f"{done} of {total} cases of bench {campaign.bench.name} on {campaign.job.engine}: {outcomes}."
    )
    report.section("Plan").code(campaign.store.plan_text())
    if campaign.note:
        report.text(campaign.note, mark="note")
    if campaign.searcher() is not None:
        _searched(report, campaign, search_result(campaign))
    found = groups(campaign)
    if found and found[0].yields:
        rows = [[g.name(), str(g.cases), name, str(y)] for g in found for name, y in g.told.items()]
        report.section("Yield").table(("point", "cases", "limit", "yield"), rows)
        for note in dict.fromkeys(y.note for g in found for y in g.yields.values() if y.note):
            report.text(note, mark="note")
    if campaign.searcher() is not None:
        report.text(
            "The cases are those that the search asked for, not a sample: their spread is not the circuit's.",
            mark="note",
        )
        return report
    report.section("Measures").table(
        ("point", "measure", "mean", "deviation", "smallest", "largest"),
        [
            [g.name(), m.name, *(show(x, m.shown_in) for x in (m.mean, m.deviation, m.values.min(), m.values.max()))]
            for g in found for m in g.measures.values()
        ],
    )  # fmt: skip
    over = grid_figure(found) if campaign.plan.grid else None
    if over is not None:
        several = campaign.plan.sample is not None
        what = "Measures, mean and standard deviation," if several else "Measures"
        report.figure(over, f"{what} over the grid, with their limits.")
    drawn = found[:_POINTS] if campaign.plan.sample is not None else []  # the points of a search are not a sample
    for group in drawn:
        for name, measure in group.measures.items():
            if (measure.low is not None or measure.high is not None) and measure.values.size > 1:
                report.section(f"{name}, {group.name()}")
                figure = yield_figure(
                    measure.values, name=name, unit=measure.shown_in, low=measure.low, high=measure.high,
                    found=group.yields.get(name.partition("[")[0]),
                )  # fmt: skip
                report.figure(figure, "Every value of every case, its limits, and the same on normal paper.")
    if len(found) > len(drawn) > 0:
        more = len(found) - len(drawn)
        report.section("More").text(f"{more} more points of the grid are in the tables only.", mark="note")
    return report


def _searched(report: Report, campaign: Campaign, ended: tuple[Searcher, Any] | None) -> None:
    report.section("Search")
    if ended is None:
        report.text("The search is not finished.", mark="note")
        return
    searcher, result = ended
    report.text(sentence(searcher, result, campaign.bench))
    if isinstance(result, WorstCaseDistance):
        return
    way = searcher.way
    measure = way.measure if isinstance(way, WorstCaseSearch) else ""
    unit = campaign.bench.file.measures[measure].unit if measure else ""
    figure = plot_search(result, names=searcher.variables.names, measure=measure, unit=unit)
    report.figure(figure, "The result of the search, with its interval if it has one.")
