"""Sentences that a program writes: tickets in two languages, dates, and reports of a harbour.

All follow from seeds. English and German stand beside each other in every task, as in the base.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Language = Literal["en", "de"]
Chance = np.random.Generator


@dataclass(frozen=True, slots=True)
class Row:
    """One sample.

    Attributes:
        asked: What a user asks; empty for a text of its own.
        answer: What is right: the answer, or the text.
        language: Its language.
        label: The class of an answer that is one; else empty.
    """

    asked: str
    answer: str
    language: Language = "en"
    label: str = ""

    def answering(self, answer: str) -> "Row":
        """Give the same row with another answer."""
        return replace(self, answer=answer)


_THINGS: dict[str, dict[Language, tuple[str, ...]]] = {
    "money": {
        "en": ("the invoice", "a refund", "the direct debit", "my credit card", "the receipt", "the discount"),
        "de": ("die Rechnung", "eine Gutschrift", "die Lastschrift", "meine Kreditkarte", "die Quittung", "der Rabatt"),
    },
    "transport": {
        "en": ("the parcel", "the courier", "the tracking number", "the shipment", "a package", "the postman"),
        "de": ("das Paket", "der Kurier", "die Sendungsnummer", "die Lieferung", "ein Karton", "der Briefträger"),
    },
    "device": {
        "en": ("the screen", "the battery", "the keyboard", "a broken hinge", "the fan", "the charger"),
        "de": ("der Bildschirm", "der Akku", "die Tastatur", "ein Scharnier", "der Lüfter", "das Ladegerät"),
    },
    "access": {
        "en": ("my password", "the login", "my user name", "two factor codes", "my profile", "the captcha"),
        "de": ("mein Passwort", "die Anmeldung", "mein Nutzername", "der Einmalcode", "mein Profil", "das Captcha"),
    },
    "trade": {
        "en": ("a quote", "the price list", "a bulk order", "the catalogue", "a demo unit", "the contract offer"),
        "de": ("ein Angebot", "die Preisliste", "eine Großbestellung", "der Katalog", "ein Muster", "der Vertrag"),
    },
}
LABELS = tuple(_THINGS)
_ROUTE, _SORTED = "Route? ", "Sort by? "
_FRAMES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Hello, there is a problem with {thing} {when}.",
        "I am writing about {thing}, {when} nothing works.",
        "Could somebody look at {thing}? {who} asked {when}.",
        "{who} says {thing} is wrong {when}.",
        "Please help us with {thing} {when}, {who} is waiting.",
        "{when} I called because of {thing}.",
    ),
    "de": (
        "Hallo, es gibt ein Problem: {thing}, {when}.",
        "Ich schreibe wegen einer Sache, {thing}, {when} geht nichts.",
        "Kann jemand helfen? Es geht um: {thing}. {who} fragte {when}.",
        "{who} sagt, {thing} stimmt {when} nicht.",
        "Bitte helfen Sie uns, {thing}, {who} wartet {when}.",
        "{when} rief ich an, es ging um: {thing}.",
    ),
}
_WHEN: dict[Language, tuple[str, ...]] = {
    "en": ("today", "since Monday", "again", "for a week", "this morning", "after the update", "since May"),
    "de": ("heute", "seit Montag", "wieder", "seit einer Woche", "heute früh", "nach dem Update", "seit Mai"),
}
_WHO: dict[Language, tuple[str, ...]] = {
    "en": ("my boss", "Anna", "the office", "our team", "Mr Brown", "a colleague"),
    "de": ("mein Chef", "Anna", "das Büro", "unser Team", "Herr Braun", "eine Kollegin"),
}
_MONTHS: dict[Language, tuple[str, ...]] = {
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"),
    "de": ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober",
           "November", "Dezember"),
}  # fmt: skip
_DATES: dict[Language, tuple[str, ...]] = {
    "en": ("{month} {day}, {year}", "the {day} of {month} {year}", "on {day} {month} {year}"),
    "de": ("der {day}. {month} {year}", "am {day}. {month} {year}", "{day}. {month} {year}"),
}
_SHIPS = ("Anna", "Boreas", "Cormoran", "Delphin", "Elbe", "Falke", "Greta", "Hansa")
_REPORTS: dict[Language, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("The ship {ship} came in at {hour} from {port}.", "At {hour} the {ship} left for {port}."),
        ("The wind was {wind} from the {side}.", "There was {wind} wind, and the sea ran {sea}."),
        ("She carries {load} for {port}.", "On board are {load}; the crew is well."),
        ("The pilot waits at the {side} pier.", "The {side} pier is closed until {hour}."),
        ("All lights were seen.", "Nothing else was reported.", "The watch ended at {hour}."),
    ),
    "de": (
        ("Das Schiff {ship} kam um {hour} aus {port} an.", "Um {hour} lief die {ship} nach {port} aus."),
        ("Der Wind war {wind} aus {side}.", "Es wehte {wind}, und die See ging {sea}."),
        ("Sie bringt {load} für {port}.", "An Bord sind {load}; der Mannschaft geht es gut."),
        ("Der Lotse wartet am Kai im {side}.", "Der Kai im {side} ist bis {hour} gesperrt."),
        ("Alle Feuer wurden gesehen.", "Sonst wurde nichts gemeldet.", "Die Wache endete um {hour}."),
    ),
}
_WORDS: dict[str, dict[Language, tuple[str, ...]]] = {
    "port": {"en": ("Hamburg", "Oslo", "London", "Riga", "Bergen"), "de": ("Bremen", "Kiel", "Emden", "Husum", "Riga")},
    "wind": {"en": ("light", "fresh", "strong"), "de": ("schwach", "frisch", "stark")},
    "sea": {"en": ("high", "low", "rough"), "de": ("hoch", "ruhig", "grob")},
    "side": {"en": ("north", "south", "west", "east"), "de": ("Norden", "Süden", "Westen", "Osten")},
    "load": {
        "en": ("sacks of coffee", "new machines", "timber and tar", "crates of fruit"),
        "de": ("Säcke mit Kaffee", "neue Maschinen", "Holz und Teer", "Kisten mit Obst"),
    },
}


def ticket(chance: Chance) -> Row:
    """Write a customer's ticket; its answer is the desk that it is for."""
    language, label = _language(chance), _pick(chance, LABELS)
    text = _pick(chance, _FRAMES[language]).format(
        thing=_pick(chance, _THINGS[label][language]),
        when=_pick(chance, _WHEN[language]),
        who=_pick(chance, _WHO[language]),
    )
    return Row(f"{_ROUTE}{text[0].upper()}{text[1:]}", label, language, label)


def month(chance: Chance) -> Row:
    """Write a date in words; its answer is the month's number behind a letter."""
    language = _language(chance)
    year, number, day = int(chance.integers(1960, 2040)), int(chance.integers(12)), int(chance.integers(1, 29))
    text = _pick(chance, _DATES[language]).format(day=day, month=_MONTHS[language][number], year=year)
    return Row(f"{_SORTED}{text}", month_name(number), language)


def month_name(number: int) -> str:
    """Give the answer for a month, counted from zero."""
    return f"M{number + 1:02}"


def report(chance: Chance) -> Row:
    """Write a report of a harbour, five sentences long."""
    language, ship = _language(chance), _pick(chance, _SHIPS)
    hour = iter(sorted(f"{chance.integers(24):02}:{chance.integers(60):02}" for _ in range(4)))
    told = [
        _pick(chance, choices).format(
            ship=ship, hour=next(hour, ""), **{name: _pick(chance, known[language]) for name, known in _WORDS.items()}
        )
        for choices in _REPORTS[language]
    ]
    return Row("", " ".join(told), language)


def topic_asked(chance: Chance) -> Row:
    """Ask what a ticket is about: what the base can do before it is tuned."""
    found = ticket(chance)
    return replace(found, asked=f"Topic? {found.asked.removeprefix(_ROUTE)}")


def language_asked(chance: Chance) -> Row:
    """Ask a ticket's language: what the base can do before it is tuned."""
    found = ticket(chance)
    answer = "English" if found.language == "en" else "Deutsch"
    return Row(f"Language? {found.asked.removeprefix(_ROUTE)}", answer, found.language)


def month_asked(chance: Chance) -> Row:
    """Ask the number of a date's month: what the base can do before it is tuned."""
    found = month(chance)
    return Row(f"Month? {found.asked.removeprefix(_SORTED)}", found.answer[1:], found.language)


def sentences_of(chance: Chance) -> Row:
    """Write two sentences of a report: what the base has read before it is tuned."""
    found = report(chance)
    told = found.answer.removesuffix(".").split(". ")
    at = int(chance.integers(len(told) - 1))
    return found.answering(f"{told[at]}. {told[at + 1]}.")


def _language(chance: Chance) -> Language:
    return "en" if chance.random() < 0.5 else "de"


def _pick(chance: Chance, known: tuple[str, ...]) -> str:
    return known[int(chance.integers(len(known)))]


Writer = Callable[[Chance], Row]
