"""A part of the fuzzing, by fixed seeds: nothing but a scan or an InputError comes out. The rest is in dicom_fuzz."""

from dicom_fuzz import failures, try_nifti, try_series, try_stream

from medseg.exchange.dicom.codecs.child import DecoderProcess


def test_mutated_series_are_read_or_refused() -> None:
    assert failures(try_series, range(120)) == []


def test_mutated_compressed_frames_are_decoded_or_refused() -> None:
    with DecoderProcess() as decoder:
        assert failures(lambda seed: try_stream(seed, decoder), range(300)) == []


def test_mutated_nifti_headers_are_read_or_refused() -> None:
    assert failures(try_nifti, range(300)) == []
