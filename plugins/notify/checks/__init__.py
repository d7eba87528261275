"""Start-up checks: what keeps mail from flowing, or may do so one day, each under an id that stays.

``notify.E…`` stops sending, handing over, or a part of it; ``notify.W…`` is worth a look. What each means stands in
``docs/health.md``; :func:`notify.checks.running.run` looks at all of them.
"""
