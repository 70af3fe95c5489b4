"""Private parts of `mmevol_dataengine.parse`: scanning, strings, structure, choice between drafts, fields."""
