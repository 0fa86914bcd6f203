"""Plain text out of HTML, LaTeX and PDF pastes; text into Markdown."""
