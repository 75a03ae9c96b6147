"""Where implementations are named and put together. It may grow, but only in tables.

``data_dir`` is what a deployment keeps, ``rewriters``, ``panel``, ``engines`` are the choices it has, ``production`` is
what makes a video of them, ``fleet`` the processes that do; ``front`` is what the HTTP side shares, ``doors`` are its
routes. Each is imported by who needs it, and heavy things by the builder that needs them: a server that only answers
HTTP never loads a codec, and a worker never loads the server.
"""
