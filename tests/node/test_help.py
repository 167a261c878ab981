"""What --help lists is what Hydra would list."""

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from zoo.installation import CONF
from zoo.node.help import choices, options, quick_lists


def test_the_lists_are_hydras_own() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = loader.list_groups("")
        assert groups == options(loader, "", ObjectType.GROUP)
        assert {"hydra", "model", "zoo"} <= set(groups)
        hydras = [f"hydra/{name}" for name in loader.list_groups("hydra")]
        listed = {group: loader.get_group_options(group) for group in [*groups, *hydras]}
        assert {group: options(loader, group) for group in listed} == listed
        own = ConfigLoaderImpl.get_group_options
        with quick_lists():
            assert {group: loader.get_group_options(group) for group in listed} == listed
            assert loader.list_groups("") == groups
        assert ConfigLoaderImpl.get_group_options is own
        lines = [
            f"{group}: {', '.join(sorted(listed[group]))}"
            for group in sorted(groups)
            if group not in ("hydra", "analysis")
        ]
        assert choices().splitlines() == lines
