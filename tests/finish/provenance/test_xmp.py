"""XMP packets: what limner writes is read back, and anybody's packet is read without harm."""

import xml.etree.ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.finish.provenance.xmp import SOURCES, TRAINED, read_packet, write_packet

TEXTS = {"limner": '{"prompt": "a <cat> & \\"dog\\" ]]> 红"}', "parameters": "a\nSeed: 7"}


def test_a_packet_says_what_was_written() -> None:
    aigc = {"Label": "1", "ContentProducer": '<"limner" & I>'}
    packet = write_packet(source=TRAINED, version="default 1234", aigc=aigc, texts=TEXTS)
    found = read_packet(packet)
    assert (found.source, found.system) == (SOURCES + TRAINED, "limner")
    assert (found.aigc, found.texts) == (aigc, TEXTS)
    inner = packet.partition("?>")[2].rpartition("<?")[0]
    root = xml.etree.ElementTree.fromstring(inner)  # well-formed, as any reader of XMP needs
    (described,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert {each.tag.partition("}")[2] for each in described} == {
        *("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed", "CreatorTool"),
        *("AIGC", "picture", "parameters"),
    }


def test_nothing_to_say_is_no_packet() -> None:
    assert write_packet() == ""
    assert read_packet("").source == "" and read_packet("").aigc is None


@pytest.mark.parametrize(
    "packet",
    [
        f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{SOURCES}{TRAINED}"/>',
        f"<Iptc4xmpExt:DigitalSourceType rdf:resource='{SOURCES}{TRAINED}'/>",
        f"<a:DigitalSourceType>\n {SOURCES}{TRAINED}</a:DigitalSourceType>",
    ],
)
def test_packets_of_others_are_read(packet: str) -> None:
    assert read_packet(packet).source == SOURCES + TRAINED


@pytest.mark.parametrize(
    "text",
    [
        "<TC260:AIGC>{</TC260:AIGC>",
        "<TC260:AIGC>[]</TC260:AIGC>",
        f"<TC260:AIGC>{'[' * 9999}</TC260:AIGC>",
        "DigitalSourceType=" * 100_000,
        "<!ENTITY a '&a;&a;'>&a;",
    ],
)
def test_a_hostile_packet_says_nothing(text: str) -> None:
    found = read_packet(text)
    assert found.aigc is None and found.texts == {}


@given(st.text())
def test_any_packet_is_read(text: str) -> None:
    read_packet(text)
    kept = text.replace("\r", "")
    assert read_packet(write_packet(texts={"limner": kept})).texts == {"limner": kept} or not kept
