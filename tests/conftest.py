"""What every test shares: quiet surroundings, paths, markers, hypothesis profiles.

Each file in `tests/fixtures/` is a plugin of its own (a database, an S3 server, a running
registry); all of them are found by folder.
"""

import gc
import importlib.util
import os
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).parents[1]

pytest_plugins = tuple(
    f"tests.fixtures.{path.stem}"
    for path in sorted((REPOSITORY / "tests" / "fixtures").glob("*.py"))
    if not path.stem.startswith("_")
)

# Most of what a test of a registry waits for is the disk, and no test cuts the power.
_MEMORY_DISK = Path("/dev/shm")
_MEMORY_DISK_BYTES = 6 << 30

# Folders whose files take long.
_DEAR = {"verify", "service", "client", "e2e", "cli", "api", "migrations", "kinds", "merging", "hub", "telling"}

# No deadline: a shared machine stalls. Derandomised: CI says the same twice; soak explores.
hypothesis.settings.register_profile("quick", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile("quick")


def pytest_configure():
    """Let the folders of the tests lie in memory, where there is room and nobody said otherwise."""
    gc.disable()  # the thousands of tests are collected first; none of them is garbage
    is_roomy = _MEMORY_DISK.is_dir() and shutil.disk_usage(_MEMORY_DISK).free >= _MEMORY_DISK_BYTES
    if is_roomy and os.access(_MEMORY_DISK, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's jobs in the background ignore Ctrl-C, and so would all that we start.
        signal.signal(signal.SIGINT, signal.default_int_handler)


_DECIDED_IN_PYTHON = {"service", "client", "e2e", "verify", "api", "hub", "telling"}
_DECIDED_BY_SERVICES = {"client"}
_DECIDED_BY_STATEMENTS = {
    "test_collect.py",
    "test_forged_moves.py",
    "test_leases.py",
    "test_listing.py",
    "test_matrix.py",
    "test_superseding.py",
}
# What takes long and is shown in other ways without the soak: the second planted set, the same
# races and kills on the other database, and the migrations step by step, of whole ways on both.
_SHOWN_ELSEWHERE = (
    "architecture/test_wheel.py",  # what the base install needs: rules of dependencies and imports
    "migrations/test_migrations.py::test_each_step_down_and_up_keeps_the_rows_that_both_its_ends_know",
    "migrations/test_command.py::test_a_migration_that_was_killed_goes_on_where_it_stood[postgresql",
    "client/test_killed_pulls.py::test_no_kill_leaves_a_wrong_byte",
    "faults/test_leases.py::test_a_killed_and_a_frozen_worker_lose_nothing",
    "faults/test_server_restarts.py::test_restarts_of_the_server_fail_nobody",
    "fresh/test_fresh.py::test_a_fresh_delta_is_right_or_refused_by_name",  # what was wrong stays
    "api/test_hostile.py::test_values_in_bodies",
    "codec/test_sanitizers.py::test_the_kernel_is_clean",
    "deploy/test_ci_promote.py::test_a_job_that_has_to_wait_says_so",
    "planted/test_planted.py::test_a_mutation_of_the_reading_is_refused",
    "planted/more/test_second_set.py::test_damage_is_what_the_library_computes_with_both",
    "verify/test_asking.py::test_an_encoder_decoder_writes_what_the_library_does[marian]",
    "verify/test_asking.py::test_an_encoder_decoder_writes_what_the_library_does[translator]",
    "verify/test_asking.py::test_an_encoder_decoder_draws_nothing_and_takes_the_beginning",
    "verify/test_asking.py::test_a_chat_is_what_the_library_makes_of_it[in_settings]",
    "verify/test_asking.py::test_what_cannot_be_asked_says_why_and_what_compares_instead[vision",
    "verify/test_asking.py::test_what_cannot_be_asked_says_why_and_what_compares_instead[whisper",
    "verify/test_worker.py::test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives"
    "[leave_the_session",
    "verify/test_worker.py::test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives[multiply",
    "verify/test_stacked_base.py::test_a_version_on_a_version_is_examined_to_the_end[computed]",
    "client/test_killed_reencodes.py::test_a_worker_killed_before_its_report_changes_nothing[before-a-pack]",
    "service/test_queue.py::test_one_run_is_served_among_the_first_although_many_were_queued_before[postgresql",
    "cli/test_apply.py::test_a_folder_is_shown_applied_once_and_kept_to[sqlite",
    "deploy/test_ci.py::test_a_github_job_stops_a_bad_delta",  # a job of the other forge does
    "planted/test_planted.py::test_nothing_broken_passes",
    "planted/test_planted.py::test_next_to_nothing_healthy_fails",
    "client/test_killed_reencodes.py::test_a_worker_killed_before_its_report_changes_nothing[bucket]",
    "service/test_collect_races.py::test_the_race_finds_a_seeded_bug[NoLockOfKnown-23]",
    "service/test_store_down.py::test_moves_need_no_store[postgresql]",
    "service/test_stats.py::test_the_figures_agree_with_the_store_through_the_life_of_versions[postgresql-s3]",
    "faults/test_channel_races.py::test_moves_under_kills_are_linearizable[sqlite]",
    "faults/test_kills.py::test_kills_lose_nothing[sqlite]",
    "faults/test_big.py::test_wide_adapters_are_compared_in_little_memory[8192]",
    "api/test_hostile.py::test_text_in_paths_and_queries[sqlite",
    "faults/test_restarts.py::test_restarts_of_postgresql_lose_nothing",
    "migrations/test_migrations.py::test_rows_that_an_older_revision_knows_survive_the_way_down_and_up[postgresql",
    "verify/test_other_architectures.py",  # fresh deltas of other architectures stay
    "verify/test_variants.py",  # packed bases: tests/deltas of quantised bases stay
    "verify/test_diffusion_bases.py",  # pipelines stay
    "verify/test_pipeline_stack.py",
    "verify/test_process.py::test_a_worker_that_is_killed_leaves_no_process",
    "verify/test_process.py::test_a_worker_that_waits_ends_at_once_when_asked",
    "verify/test_process.py::test_a_base_is_measured_once_for_all_its_versions",
    "verify/test_streamed.py::test_nothing_differs_for_deltas_of_other_people",
    "planted/more/test_second_set.py::test_healthy_ones_pass_smoke_and_golden_outputs",
    "planted/test_planted.py::test_the_worker_stops_at_the_first_static_failure_and_tells_which",
    "faults/test_big.py::test_a_large_delta_needs_little_memory",
    "faults/test_clear_lines.py::test_a_disk_of_the_server_that_is_full",
    "faults/test_leases.py::test_a_crowd_of_waiting_workers_leaves_the_server_ready",
    "service/test_reencode_races.py::test_no_interleaving_loses_a_version",
    "service/test_reencode_races.py::test_a_run_that_forgets_to_name_its_packs_is_found_out",
    "api/test_forged_promotions.py::test_promotions_that_are_not_in_order_are_refused[VERDICTS",
    "api/test_forged_promotions.py::test_reports_that_are_not_in_order_are_refused[34",
    "api/test_blobs.py::test_a_bucket_serves_its_packs_itself",
    "client/test_faults.py::test_a_run_is_judged_once",
    "client/test_faults.py::test_a_network_that_stays_broken_is_told",
    "client/test_faults.py::test_a_push_is_made_once",
    "client/test_follow_killed.py",
    "client/test_killed_pulls.py::test_a_killed_pull_goes_on_where_it_was",
    "client/test_waiting.py::test_a_verdict_says_what_it_waits_for_and_is_made_anew_once_that_is_whole[postgresql",
    "client/test_merge.py::test_a_delta_alone_with_weight_one_folds_to_what_it_folds_to",
    "client/test_report_escaping.py::test_no_element_and_no_attribute_comes_from_text_of_others",
    "client/torch_archive/test_hostile.py::test_nothing_happens_that_the_interpreter_would_report",
    "deploy/test_ci.py::test_nothing_judged_in_time_is_neutral_or_not",
    "deploy/test_ci.py::test_a_comment_that_fails_does_not_change_the_answer",
    "cli/test_queue.py::test_a_worker_here_verifies_and_is_gone",
    "cli/test_reports.py::test_a_run_that_no_worker_could_do_is_inconclusive",
    "db/test_session.py::test_pooled_connections_survive_a_restart_of_the_server",
    "e2e/test_train.py",
    "e2e/test_stacks.py::test_a_lora_on_a_fine_tune_goes_all_the_way[postgresql",
    "client/test_reencode.py::test_flattening_leaves_one_reference_and_the_same_version[postgresql",
    "client/test_references.py::test_a_version_stands_without_the_ones_that_it_was_encoded_against[postgresql",
    "client/test_update.py::test_only_what_differs_travels[postgresql",
    "client/test_merge.py::test_a_delta_less_itself_folds_to_the_base[tinyllama-lora_dora",
    "faults/test_channel_races.py::test_bugs_are_found_out",
    "planted/more/test_second_set.py::test_what_was_changed_after_training_is_stopped",
    "verify/test_process.py::test_a_worker_does_not_start_where_a_child_gets_out[calls",
    "api/test_idempotency.py::test_two_at_once_under_one_key_are_both_answered",
    "api/test_matrix.py::test_nobody_gets_past_the_table[postgresql",
    "api/test_hostile.py::test_text_in_paths_and_queries[postgresql",
    "conformance/test_blob_store.py::TestS3::test_listing_finds_every_object_once_over_many_pages",
    "conformance/test_blob_store.py::TestS3::test_a_long_stream_takes_little_memory",
    "e2e/test_tour.py",
    "hub/test_databases.py::test_a_repository_is_found_by_all_its_names[postgresql",
    "migrations/test_migrations.py::test_the_release_before_finds_documents_written_out[postgresql",
    "hub/test_reach.py::test_nobody_gets_past_the_table[postgresql",
    "codec/test_fuzz.py::test_the_kernel_decodes_damaged_containers_cleanly",
    "deploy/test_ci.py::test_a_gitlab_job_lets_a_good_delta_pass",
    "deploy/test_ci.py::test_a_server_that_is_away",
    "deploy/test_ci_promote.py::test_a_server_that_is_away",
    "client/test_follow_vllm.py::test_no_request_fails_while_versions_are_swapped[40",
    "client/test_report_pages.py::test_a_page_fits_and_asks_no_network[huge",
    "verify/test_findings.py::test_a_seed_draws_the_same_again",
    "verify/test_process.py::test_a_worker_ends_with_the_process_that_started_it",
    *(
        f"verify/test_asking.py::{name}"
        for name in (
            "test_what_a_template_refuses_is_told_to_who_asked_alone",
            "test_no_template_at_all_is_a_plain_text_unless_a_chat_is_asked_for",
            "test_a_network_with_few_places_is_given_no_more_than_it_has",
            "test_a_template_that_looks_for_parts_is_given_parts",
            "test_a_classifier_is_shown_to_people_as_a_table",
            "test_one_that_sees_answers_a_text_alone",
            "test_a_versions_own_template_goes_before_the_bases",
            "test_what_cannot_be_asked_says_why_and_what_compares_instead[masked",
        )
    ),
    "verify/test_generality.py::test_what_is_broken_shows_in_its_interval",
    "verify/test_generality.py::test_two_that_do_the_same_are_the_same_on_every_text",
    "verify/test_general.py",  # on a base that is trained for it
    "verify/test_worker.py::test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives[flood",
    "verify/test_stacked_base.py::test_a_base_that_is_not_what_its_version_folds_to_fails[nan",
    "verify/test_stacked_base.py::test_a_base_that_is_not_what_its_version_folds_to_fails[one",
    "verify/test_zygote.py::test_everything_that_a_child_starts_is_killed_in_time[without",
    "verify/test_process.py::test_help_needs_no_torch",  # the rules of imports say so as well
    "verify/test_process.py::test_a_worker_does_not_start_where_a_child_gets_out[missing_files",
    "verify/test_attach.py::test_memory_stays_flat_over_many_swaps",
    "verify/test_image_distance.py::test_what_a_network_makes_is_what_it_makes_in_the_library",
    "verify/test_pilot.py::test_answers_are_scored_after_what_was_asked_as_peft_does",
    "client/test_secrets.py::test_the_object_store_never_sees_it",
    "client/test_update.py::test_a_kill_at_any_point_leaves_a_whole_version",
    "client/test_killed_reencodes.py::test_a_worker_killed_before_its_report_changes_nothing[after-a-pack",
    "client/test_killed_reencodes.py::test_a_worker_killed_before_its_report_changes_nothing[before-the-report",
    "client/test_merge.py::test_a_delta_less_itself_folds_to_the_base[tinyllama-lora_modules",
    "client/test_campaign.py::test_what_fits_is_pushed_a_few_at_a_time_and_gone_on_with",
    "client/torch_archive/test_hostile.py::test_it_is_refused_by_name[no end of values",
    "trail/test_mutations.py::test_whatever_the_owner_of_the_database_edits_is_found[postgresql",
    "trail/test_mutations.py::test_an_export_of_odd_values_ends_no_verifier[value",
    "trail/test_mutations.py::test_an_export_of_odd_values_ends_no_verifier[None",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[was revoked",
    "api/test_address.py::test_a_certificate_that_is_none_is_told[garbage",
    "migrations/test_migrations.py::test_every_revision_goes_up_and_down_to_nothing[postgresql",
    "migrations/test_migrations.py::test_rows_that_an_older_revision_knows_survive_the_way_down_and_up[sqlite-0013",
    "cli/test_launch.py::test_migrate_makes_the_schema",  # `migrations/test_command.py` does
    "verify/test_worker.py::test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives[devour",
    "migrations/test_command.py::test_processes_that_migrate_at_the_same_time_take_turns[sqlite",
    "e2e/test_stacks.py::test_a_version_is_named_in_any_way_that_names_one[:1.0.0",
    "e2e/test_stacks.py::test_a_version_is_named_in_any_way_that_names_one[@{digest",
    "faults/test_gc.py",  # `service/test_collect_races.py` has its orders one by one
    "service/test_requests.py::test_of_promotions_at_once_one_opens_the_request[sqlite",
    "service/test_requests.py::test_of_approvals_at_once_each_counts_and_one_moves[sqlite",
    "service/test_requests.py::test_of_an_approval_and_what_ends_the_request_at_once_one_wins[sqlite",
    "service/test_leases.py::test_eight_threads_claim_many_runs_each_once[sqlite",
    "service/test_collect_races.py::test_no_interleaving_loses_a_needed_pack",
    "conformance/test_blob_store.py::TestS3::test_attempts_at_one_digest_may_come_and_go_at_once",
    "conformance/test_blob_store.py::TestS3::test_writers_of_distinct_keys_do_not_disturb_each_other",
    "planted/test_planted.py::test_the_same_seed_gives_the_same_files",
    "integrations/test_rl.py::test_every_step_that_is_waited_for_is_served",
    "client/test_reencode.py::test_a_push_without_the_base_at_hand_is_stored_anew_with_it",
    "client/test_reencode.py::test_a_form_that_is_not_smaller_changes_nothing",
    "api/test_hostile.py::test_headers",
    "telling/test_streams.py::test_a_reader_that_does_not_read_costs_no_memory",
    "codec/test_rebuild.py::test_no_reference_is_ever_held_whole",
    "codec/test_encoder.py::test_memory_does_not_grow_with_a_piece",
    "codec/test_fuzz.py::test_cut_containers_are_refused",
    "deploy/test_ci.py::test_a_github_job_without_a_channel_verifies_and_without_a_token_comments",
    "deploy/test_ci.py::test_a_version_that_is_not_there_is_not_asked_for_again",
    "hub/test_push.py::test_a_training_pushes_half_of_it_first",
    "cli/test_golden.py::test_outputs_of_other_files_are_not_taken[a note",
    "integrations/test_transformers.py::test_every_strategy_pushes_what_it_saves_and_the_end[steps-wanted1",
    "telling/test_killed.py",
    *(
        f"fresh/test_found.py::test_a_delta_that_was_wrong_or_refused_is_right[{which}"
        for which in (
            "vit to",
            "switch",
            "t5-all",
            "roformer",
            "marian",
            "gemma3",
            "vision_text",
            "swin",
            "vilt",
            "t5-lora",
        )
    ),
)


def pytest_collection_modifyitems(items):
    """Start the files with slow tests first, and skip `gpu` tests where there is no CUDA device.

    Two processes share the files in this order; a long file that comes last would run alone. So
    those with neither slow tests nor registries, networks or databases in them come last.
    """
    leave_to_soak(items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name not in _DEAR))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    missing = missing_gpu() if marked else None
    if missing is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=missing))


def leave_to_soak(items):
    """Leave to the soak what is asked of PostgreSQL again although no statement decides it.

    Of each file that is named, one test stays, in the place of its twin on SQLite, and with it what
    several do at once. What takes long and is shown in another way goes there, too.
    """
    seen, twins = set(), set()
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(_SHOWN_ELSEWHERE):
            item.add_marker(pytest.mark.soak)
        if item.path.parent.name not in _DECIDED_IN_PYTHON or "postgresql" not in item.name:
            continue
        if "at_once" in item.name or item.path.name in _DECIDED_BY_STATEMENTS:
            continue
        if item.path in seen or item.path.parent.name in _DECIDED_BY_SERVICES:
            item.add_marker(pytest.mark.soak)
        elif item.get_closest_marker("soak") is None:
            twins.add(item.nodeid.replace("postgresql", "sqlite"))
        seen.add(item.path)
    for twin in (item for item in items if item.nodeid in twins):
        twin.add_marker(pytest.mark.soak)


def pytest_collection_finish():
    """Let the collector pass over the thousands of tests, which are there until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def missing_gpu():
    """Say why a CUDA test cannot run here, or return None."""
    if importlib.util.find_spec("torch") is None:
        return "needs torch: pip install 'deltareg[verify]'"
    import torch

    return None if torch.cuda.is_available() else "needs a CUDA device: torch sees none"


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory):
    """Keep the user's settings, caches and credentials out of the tests, and tests off the net."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DELTAREG_", "AWS_", "HF_")) and not name.startswith("DELTAREG_TEST_"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        for name in ("CONFIG", "CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("DELTAREG_GOLDEN", "never")  # a process with torch for each push
        yield


@pytest.fixture(scope="session")
def repository():
    """Return the root of the project's tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def corpus():
    """Return the folder of real samples made by other libraries, or skip where it is absent."""
    folder = Path(os.environ.get("DELTAREG_TEST_CORPUS", REPOSITORY.parent / "shared" / "corpus"))
    if not (folder / "manifest.json").is_file():
        pytest.skip("needs the sample corpus: set DELTAREG_TEST_CORPUS to its folder")
    return folder
