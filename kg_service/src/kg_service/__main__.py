"""`python -m kg_service`."""

from kg_service.cli import main

main()
