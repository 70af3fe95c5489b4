"""Commands, one module a package; heavy imports happen inside the commands."""
