"""How a run loads images."""

import pytest
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data.loading import load_images
from open_clip.transform import PreprocessCfg


@pytest.fixture
def load():
    """Loads a dataset's images by the settings of `nbclip-tiny` and some overrides."""

    def loaded(dataset, *overrides, preprocess=PreprocessCfg(size=32, resize_mode="squash")):  # noqa: B008
        config = load_config("nbclip-tiny", [*overrides])
        return load_images(dataset, preprocess, config.data, config.augmentation, config.seed)

    return loaded
