"""Programs that run in environments of their own: other senders, and the plotter. They know nothing of ours."""
