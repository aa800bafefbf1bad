"""Sphinx configuration for a development build of this package alone."""

from documenteer.conf.pipelinespkg import *  # noqa: F403

project = "meas_morphology"
html_theme_options["logotext"] = project  # noqa: F405
html_title = project
html_short_title = project
doxylink = {}
exclude_patterns = ["changes/*"]
