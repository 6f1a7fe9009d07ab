"""What captions call backgrounds, in English and Chinese."""

from collections.abc import Mapping

from limner.data.scenes.backgrounds import BY_NIGHT, PLACES_LATER

_PLACES_EN = {
    "meadow": ("in a meadow", "on the grass", "in a green meadow", "on a meadow"),
    "night": ("under the night sky", "at night", "under the stars", "in the night"),
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "snow": ("in the snow", "on the snow", "in a snowy field"),
    "desert": ("in the desert", "in a desert", "on the sand dunes"),
    "sea": ("under the sea", "underwater", "in the sea", "under water"),
    "sunset": ("at sunset", "in the sunset", "at dusk"),
    # of the wide world
    "forest": ("in the forest", "in a forest", "in the woods"),
    "mountains": ("in the mountains", "among the mountains"),
    "downtown": ("in the city", "downtown", "in a big city"),
}
_BARE_PLACES_EN = {
    "night": "night sky",
    "sea": "underwater",
}
_EMPTY_EN = {
    "meadow": ("an empty meadow", "a meadow", "the meadow"),
    "night": ("an empty night sky", "a night sky", "the night sky"),
    "beach": ("an empty beach", "a beach", "the beach"),
    "snow": ("an empty snowy field", "a snowy field", "the snow"),
    "desert": ("an empty desert", "a desert", "the desert"),
    "sea": ("the empty sea", "the sea", "the sea floor"),
    "sunset": ("a sunset", "the sunset"),
    "forest": ("an empty forest", "a forest", "the forest"),
    "mountains": ("empty mountains", "the mountains"),
    "downtown": ("an empty city", "the city"),
}
_PLACES_ZH = {
    "meadow": ("草地上", "草坪上", "绿草地上"),
    "night": ("夜空下", "星空下", "夜里"),
    "beach": ("沙滩上", "海滩上"),
    "snow": ("雪地里", "雪地上", "雪中"),
    "desert": ("沙漠里", "沙漠中"),
    "sea": ("海底", "海里", "水下"),
    "sunset": ("夕阳下", "日落时", "黄昏时"),
    "forest": ("森林里", "树林里", "森林中"),
    "mountains": ("群山中", "山里", "山中"),
    "downtown": ("城市里", "城市中", "都市里"),
}
_EMPTY_ZH = {
    "meadow": ("空旷的草地", "草地"),
    "night": ("夜空", "星空"),
    "beach": ("空旷的沙滩", "沙滩"),
    "snow": ("空旷的雪地", "雪地"),
    "desert": ("空旷的沙漠", "沙漠"),
    "sea": ("大海", "海洋"),
    "sunset": ("夕阳", "日落"),
    "forest": ("空旷的森林", "森林"),
    "mountains": ("空旷的群山", "群山"),
    "downtown": ("空旷的城市", "城市街道"),
}
PATTERNS_EN = {
    "plain": ("on {a} {} background", "on a plain {} background", "against {a} {} background"),
    "gradient": ("on {a} {} gradient background", "on a background fading from {} to white"),
    "striped": ("on {a} {} striped background", "on {} stripes"),
    "dotted": ("on {a} {} polka dot background", "on {} polka dots"),
    "checkered": ("on {a} {} checkered background", "on {a} {} checkerboard"),
}
PATTERNS_ZH = {
    "plain": ("{}色背景上", "{}色的背景上", "{}底上"),
    "gradient": ("{}色渐变背景上", "{}色渐变到白色的背景上"),
    "striped": ("{}色条纹背景上", "{}条纹背景上"),
    "dotted": ("{}色圆点背景上", "{}色波点背景上"),
    "checkered": ("{}色格子背景上", "{}色棋盘格背景上"),
}


def _with_nights(
    by_day: Mapping[str, tuple[str, ...]], template: str, first: int = 0
) -> dict[str, tuple[str, ...]]:
    """Return the words of places, and of those that are painted by night those of the night."""
    nights = {
        key: tuple(template.format(text) for text in texts[first:])
        for place, texts in by_day.items()
        if (key := BY_NIGHT.format(place)) in PLACES_LATER
    }
    return {**by_day, **nights}


PLACES_EN = _with_nights(_PLACES_EN, "{} at night")
PLACES_ZH = _with_nights(_PLACES_ZH, "夜晚的{}")
EMPTY_EN = _with_nights(_EMPTY_EN, "{} at night")
EMPTY_ZH = _with_nights(_EMPTY_ZH, "夜晚的{}", first=1)
BARE_PLACES_EN = {key: _BARE_PLACES_EN.get(key, key) for key in PLACES_EN}
