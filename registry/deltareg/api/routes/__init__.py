"""One router a subject; `deltareg.api.app` joins them behind the token check."""
