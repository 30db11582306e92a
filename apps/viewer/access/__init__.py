"""Who may do what in the viewer: roles, log-in, and the signed permits that every route asks for."""
