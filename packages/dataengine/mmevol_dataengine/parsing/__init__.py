"""Private parts of `mmevol_dataengine.parse`: scanning, strings, structure, choice between drafts, fields."""

VERSION = "3"  # raise it when any reply is read as something else: it is part of the versions of evolve and curation
