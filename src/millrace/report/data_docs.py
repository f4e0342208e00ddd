"""A verdict as Great Expectations' own objects and as a page of its Data Docs, readable without network.

Great Expectations (4 to 8 s to import) is loaded inside these functions only, with its analytics off. The figures are
those of the verdict: nothing is computed here.
"""

from __future__ import annotations

import html
import os
import re
from datetime import UTC, datetime
from typing import Any

from millrace.data.check_verdict import Outcome, Verdict
from millrace.data.expectations import moment
from millrace.without_pyspark import without_pyspark

SEVERITIES = {"fail": "critical", "warn": "warning", "quarantine": "info"}


def results(verdict: Verdict, *, name: str = "check", interval: str | None = None) -> Any:
    """The verdict as a Great Expectations `ExpectationSuiteValidationResult`.

    `name` is the suite's, normally the pipeline's; `interval` the data interval that was checked. Severities ``fail``,
    ``warn`` and ``quarantine`` are Great Expectations' critical, warning and info.
    """
    _load()
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    met = sum(outcome.success for outcome in verdict.outcomes)
    count = len(verdict.outcomes)
    statistics = {
        "evaluated_expectations": count,
        "successful_expectations": met,
        "unsuccessful_expectations": count - met,
        "success_percent": met / count * 100 if count else None,
    }
    start = moment(interval) or moment(f"{interval}-01") or datetime(1970, 1, 1)
    run_time = start.replace(tzinfo=UTC).isoformat()
    meta = {"run_id": {"run_name": interval or name, "run_time": run_time}, "rows": verdict.rows}
    return ExpectationSuiteValidationResult(
        success=verdict.success,
        results=[_result(outcome) for outcome in verdict.outcomes],
        suite_name=name,
        statistics=statistics,
        meta=meta,
    )


def page(verdict: Verdict, *, name: str = "check", interval: str | None = None) -> str:
    """The verdict as one HTML page of Data Docs, which loads nothing from anywhere."""
    _load()
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    shown = Verdict(rows=verdict.rows, outcomes=[_renderable(outcome) for outcome in verdict.outcomes])
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(results(shown, name=name, interval=interval))
    return offline(DefaultJinjaPageView().render(document))


def offline(text: str) -> str:
    """A page of Data Docs without scripts, styles, images and links from elsewhere; our own few styles instead.

    >>> offline('<head><link rel="stylesheet" href="https://x/a.css"></head><img src="https://x/a.png"/>').count("http")
    0
    """
    text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
    text = re.sub(r"<(?:link|img)\b[^>]*>", "", text)
    text = re.sub(r"(<\w[^<>]*?)\son\w+=\"[^\"]*\"", r"\1", text)
    text = re.sub(r"url\(['\"]?https?:[^)]*\)", "none", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<footer\b.*?</footer>", "", text, flags=re.DOTALL)
    text = re.sub(r"<a\b[^>]*href=[\"'][^#\"'][^>]*>(.*?)</a>", r"\1", text, flags=re.DOTALL)
    return text.replace("</head>", f"<style>{STYLE}</style></head>", 1)


def _renderable(outcome: Outcome) -> Outcome:
    """The outcome in a form that Great Expectations 1.24's page can show.

    For sets of distinct values it gives counts of unexpected values without a percentage, on which its own renderer of
    failed expectations stumbles; the page shows them as the observed value. And it puts values found in the data into
    the page as they are: here they are escaped, so that a cell can't bring markup or a script into the page.
    """
    outcome = outcome.model_copy(update={"result": _escaped(outcome.result)})
    if "observed_value" not in outcome.result or outcome.element_count is not None or outcome.observed is not None:
        return outcome
    values = [f"not in the set: {', '.join(map(str, outcome.result.get('partial_unexpected_list') or ['none']))}"]
    if "partial_missing_list" in outcome.result:
        values.append(f"missing: {', '.join(map(str, outcome.result['partial_missing_list'] or ['none']))}")
    return outcome.model_copy(update={"result": {"observed_value": "; ".join(values)}})


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value


def _result(outcome: Outcome) -> Any:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    arguments = {key: value for key, value in outcome.arguments.items() if key != "condition_parser"}
    return ExpectationValidationResult(
        success=outcome.success,
        expectation_config=ExpectationConfiguration(
            type=f"expect_{outcome.expect}",
            kwargs=arguments,
            severity=SEVERITIES[outcome.severity],
            meta={"severity": outcome.severity},
        ),
        result=_own_form(outcome.result),
        exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
        meta={},
    )


def _own_form(result: dict[str, Any]) -> dict[str, Any]:
    """Rows of several columns as Great Expectations has them: tuples, where it counts values."""
    own = dict(result)
    if "partial_unexpected_counts" in own:
        own["partial_unexpected_counts"] = [
            {"value": _hashable(each["value"]), "count": each["count"]} for each in own["partial_unexpected_counts"]
        ]
        own["partial_unexpected_list"] = [
            tuple(value) if isinstance(value, list) else value for value in own["partial_unexpected_list"]
        ]
    return own


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list) else value


def _load() -> None:
    """Import what this module needs of Great Expectations."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with without_pyspark():
        import great_expectations.core.expectation_validation_result
        import great_expectations.render.renderer.page_renderer
        import great_expectations.render.view  # noqa: F401


STYLE = """
body{font:14px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;margin:0;color:#212529;background:#fff}
*{box-sizing:border-box}.container-fluid{padding:0 16px}.row{display:flex;flex-wrap:wrap}
.col-12{flex:0 0 100%;max-width:100%}.col-4{flex:1 1 auto;text-align:right}
nav.navbar,#ge-cta-footer,.navbar-brand,.modal,.d-none,.d-md-none,button,.btn,.card{display:none!important}
.ge-section{border:1px solid #dee2e6;border-radius:6px;padding:12px 16px;margin:0 0 20px}
.alert{padding:8px 12px;background:#e9ecef;border-radius:4px}h1,h2,h3,h4,h5{margin:8px 0;font-weight:600}
table{border-collapse:collapse;width:100%}th,td{padding:6px 8px;text-align:left;vertical-align:top;
border-bottom:1px solid #dee2e6}.table-bordered td,.table-bordered th{border:1px solid #dee2e6}
.badge{display:inline-block;padding:1px 6px;border-radius:4px;font-size:12px;background:#6c757d;color:#fff}
.badge-warning{background:#ffc107;color:#212529}.text-danger{color:#b02a37}.text-success{color:#146c43}
.fa-check-circle::before{content:"\\2714"}.fa-times::before{content:"\\2718"}
.fa-exclamation-triangle::before{content:"\\26A0"}i{font-style:normal}
ul{list-style:none;padding-left:0}a{color:#0d6efd;text-decoration:none}
"""
