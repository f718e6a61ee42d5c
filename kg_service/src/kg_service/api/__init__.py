"""HTTP alone: routes, authentication, problems, and what bounds requests."""
