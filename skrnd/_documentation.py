"""Where scikit-learn's diagram of an estimator links to."""

from __future__ import annotations


class DocumentationLinkMixin:
    """Lets the diagram of an estimator link to its page in the documentation.

    To stand before `BaseEstimator`, which links to scikit-learn's own pages. Subclasses
    in other packages have no page, and no link.
    """

    _doc_link_module = "skrnd"
    # Empty means no link. The site, which knows where it is, sets it for its own pages
    # (`docs/conf.py`); one that is published sets its address here, for all diagrams.
    _doc_link_template = ""
