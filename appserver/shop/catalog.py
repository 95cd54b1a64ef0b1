"""What the shop sells when its database is new."""

from __future__ import annotations

from typing import Final

from appserver.shop.model import Product


def _product(slug: str, name: str, price: int, stock: int, tagline: str, description: str) -> Product:
    return Product(slug, name, tagline, description, price, stock, updated=0)


PRODUCTS: Final = (
    _product(
        "shoes", "Harbour walking shoes", 8900, 40,
        "Soft leather, a sole that likes wet cobblestones.",
        "Cut from one piece of vegetable-tanned leather and stitched to a natural rubber sole that can be replaced. "
        "They need no breaking in, and forgive a puddle or two. Sizes 36 to 47; between two sizes, take the larger.",
    ),
    _product(
        "lamp", "Reading lamp", 6450, 25,
        "Warm light where the page is, and nowhere else.",
        "A steel arm on a heavy foot, balanced so that it stays where you leave it. The shade is enamelled white "
        "inside and sage outside. Takes an E14 bulb up to 8 W; a warm one is in the box.",
    ),
    _product(
        "mug", "Stoneware mug", 1850, 120,
        "Holds 350 ml, and the heat.",
        "Thrown by hand and glazed twice, so that no two are quite alike. The handle has room for three fingers of a "
        "large hand. Goes into the dishwasher and the microwave.",
    ),
    _product(
        "backpack", "Day backpack", 11900, 18,
        "Eighteen litres of waxed cotton with one good pocket.",
        "For a laptop, lunch and a jumper. Waxed cotton keeps the rain out and grows more handsome with every year. "
        "Brass buckles, padded straps, and a loop for a bicycle light.",
    ),
    _product(
        "chair", "Ash kitchen chair", 17500, 8,
        "Three kilograms of solid ash. Nothing wobbles.",
        "Made without a single screw: the legs are wedged into the seat as they have been for three hundred years. "
        "Oiled, not varnished, so that a scratch can be sanded out on a Sunday afternoon.",
    ),
    _product(
        "clock", "Wall clock", 5400, 30,
        "Tells the time. Does not tick.",
        "A sweeping movement without a sound, a face that can be read across the room, and a rim of spun aluminium. "
        "26 cm across. Runs for two years on one AA battery.",
    ),
    _product(
        "kettle", "Enamel kettle", 4990, 22,
        "Whistles politely.",
        "One and a half litres of thick enamelled steel with a beech handle that stays cool. For gas, induction and "
        "open fire. It begins to whistle softly a minute before it means it.",
    ),
    _product(
        "notebook", "Dotted notebook", 1200, 200,
        "Lies flat. Takes ink.",
        "192 pages of 100 g paper, thread-bound so that it lies flat from the first page to the last. A dotted grid of "
        "5 mm, numbered pages, two ribbons and a pocket in the cover for whatever you are given.",
    ),
    _product(
        "scarf", "Lambswool scarf", 3900, 35,
        "Two metres of warmth.",
        "Woven in a mill that has done nothing else since 1849, washed soft in spring water, and long enough to go "
        "around twice. Pure lambswool; wash it by hand, cold, and not too often.",
    ),
    _product(
        "umbrella", "Storm umbrella", 4500, 3,
        "Bends in a gale, and comes back.",
        "Eight ribs of glass fibre under a canopy of recycled nylon. When a gust turns it inside out, close it, open "
        "it, walk on. The handle is chestnut wood, steamed and bent by hand.",
    ),
    _product(
        "plant", "Rubber plant", 2900, 12,
        "Asks for little, and grows anyway.",
        "A young Ficus elastica of about 40 cm in a terracotta pot. Likes light but no sun at noon, and water when the "
        "soil is dry to the second knuckle. We pack it so that it arrives upright.",
    ),
    _product(
        "radio", "Kitchen radio", 13900, 0,
        "Two knobs: louder, and elsewhere.",
        "A speaker that is larger than it needs to be in a box of oiled walnut. FM and DAB+, a dial you can turn with "
        "doughy fingers, and no app. The next batch is being glued.",
    ),
)  # fmt: skip
"""In the order of the list page. `updated` is set when they are stored."""
