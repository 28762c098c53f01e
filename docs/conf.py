"""How Sphinx builds the site: ``python -m sphinx -W -b html docs docs/_build/html``."""

import skrnd
from skrnd._documentation import DocumentationLinkMixin

project = "skrnd"
author = "The skrnd developers"
project_copyright = author
version = release = skrnd.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/**.ipynb", "auto_examples/**.py*"]
templates_path = ["_templates"]
default_role = "code"
nitpicky = True
# Names of other packages are not linked, which would need the network.
nitpick_ignore_regex = [("py:.*", r"(numpy|pyod|scipy|sklearn|torch)\..*")]

# Every public name has a page of its own, written by numpydoc from its docstring.
autosummary_generate = True
autodoc_default_options = {
    "members": True,
    "inherited-members": "Exception, BaseDetector",
    # Their docstrings refer to pages of scikit-learn's own site.
    "exclude-members": "get_metadata_routing, set_output, set_predict_request, "
    "set_predict_proba_request",
}
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "backreferences_dir": "generated/backreferences",
    "doc_module": "skrnd",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "within_subsection_order": "ExampleTitleSortKey",
}

# Diagrams of estimators stand on the pages of the gallery, beside the reference.
DocumentationLinkMixin._doc_link_template = "../generated/{estimator_module}.{estimator_name}.html"

html_theme = "pydata_sphinx_theme"
html_title = "skrnd"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}
html_sidebars = {page: [] for page in ("index", "faq", "coming_from", "architecture")}
