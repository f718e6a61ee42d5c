"""`python -m nbclip_trainer`, as torchrun starts it."""

from nbclip_trainer.cli.main import main

main()
