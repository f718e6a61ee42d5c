"""`python -m kg_service`."""

from kg_service.cli.main import main

main()
