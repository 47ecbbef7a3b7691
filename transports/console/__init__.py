"""``proxy-cli``: what one does to the proxy from a shell. A command is a module, which is loaded when it is run."""
