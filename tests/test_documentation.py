"""The diagrams of estimators link to pages that there are."""

import re
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

import skrnd
from skrnd import SVDRNDDetector, blur, geometry, model_selection
from skrnd._documentation import DocumentationLinkMixin

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference.rst"
ESTIMATORS = [
    getattr(module, name)
    for module in (skrnd, blur, geometry, model_selection)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), BaseEstimator)
]


@pytest.fixture
def _address(monkeypatch):
    template = "https://site.example/{estimator_module}.{estimator_name}.html"
    monkeypatch.setattr(DocumentationLinkMixin, "_doc_link_template", template)


@pytest.mark.usefixtures("_address")
@pytest.mark.skipif(not REFERENCE.exists(), reason="the documentation is not here")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_links_to_a_page_of_the_reference(estimator):
    (page,) = re.findall(
        r'href="https://site\.example/skrnd\.(.+?)\.html"', estimator()._repr_html_()
    )
    assert page in REFERENCE.read_text("utf-8").split()


@pytest.mark.usefixtures("_address")
def test_links_in_a_pipeline():
    pipeline = make_pipeline(blur.SVDBlur(), SVDRNDDetector())
    html = pipeline._repr_html_()
    assert "https://site.example/skrnd.blur.SVDBlur.html" in html
    assert "https://site.example/skrnd.SVDRNDDetector.html" in html


@pytest.mark.usefixtures("_address")
def test_subclass_elsewhere_has_no_link():
    class Mine(SVDRNDDetector):
        pass

    assert "href" not in Mine()._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_link_without_an_address(estimator):
    assert "href" not in estimator()._repr_html_()
