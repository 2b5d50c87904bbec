"""Which tests the soak alone runs, so that the ordinary run ends in time on two cores.

A test that is only ever slow carries the marker `soak` itself; here stand those that would be worth
their time if others did not show nearly the same.
"""

from collections import Counter

import pytest

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
SHOWN_ELSEWHERE = (
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
    "cli/test_apply.py::test_a_folder_is_shown_applied_once_and_kept_to[sqlite",
    "deploy/test_ci.py::test_a_github_job_stops_a_bad_delta",  # a job of the other forge does
    "planted/test_planted.py::test_nothing_broken_passes",
    "planted/test_planted.py::test_next_to_nothing_healthy_fails",
    "service/test_collect_races.py::test_the_race_finds_a_seeded_bug[NoLockOfKnown-23]",
    "service/test_store_down.py::test_moves_need_no_store[postgresql]",
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
    "hub/test_reach.py::test_nobody_gets_past_the_table[postgresql",
    "codec/test_fuzz.py::test_the_kernel_decodes_damaged_containers_cleanly",
    "deploy/test_ci.py::test_a_gitlab_job_lets_a_good_delta_pass",
    "deploy/test_ci.py::test_a_server_that_is_away",
    "deploy/test_ci_promote.py::test_a_server_that_is_away",
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
    "client/test_merge.py::test_a_delta_less_itself_folds_to_the_base[tinyllama-lora_modules",
    "client/test_campaign.py::test_what_fits_is_pushed_a_few_at_a_time_and_gone_on_with",
    "client/torch_archive/test_hostile.py::test_it_is_refused_by_name[no end of values",
    "trail/test_mutations.py::test_whatever_the_owner_of_the_database_edits_is_found[postgresql",
    "trail/test_mutations.py::test_an_export_of_odd_values_ends_no_verifier[value",
    "trail/test_mutations.py::test_an_export_of_odd_values_ends_no_verifier[None",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[was revoked",
    "api/test_address.py::test_a_certificate_that_is_none_is_told[garbage",
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
    # Each of these is shown by its neighbours as well, or in a shorter way.
    "architecture/test_word_lists.py",
    "faults/test_kills.py",
    "conformance/test_blob_store.py::TestGcs",
    "verify/test_streamed.py",
    "client/test_follow_vllm.py",
    "client/test_follow_holes.py",
    "client/test_forms.py",
    "cli/test_bisect.py",
    "cli/test_stacks.py",
    "service/test_drift.py",
    "api/test_one_host.py",
    "sign_in/test_staying_in.py",
    "faults/test_channel_races.py::test_moves_under_kills_are_linearizable",
    "docs/test_howtos.py::test_a_page_runs_from_top_to_bottom[policies",
    "e2e/test_data_path.py::test_a_base_is_one_however_it_is_cut[postgresql",
    "e2e/test_notebook.py",
    "e2e/test_stacks.py::test_a_computed_base_is_folded_once_and_the_same_bits_for_all",
    "e2e/test_stacks.py::test_a_full_fine_tune_of_a_version_comes_back_as_it_went_in",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[passes with a warning",
    "api/test_one_up.py::test_a_service_that_is_asked_to_end_ends_well",
    "api/test_one_up.py::test_a_second_one_over_the_same_database_is_refused_from_any_folder[postgresql",
    "api/test_forgery.py::test_mutations",
    "api/test_waiting.py::test_a_wait_ends_with_an_answer_when_the_server_ends[lease",
    "api/test_waiting.py::test_a_wait_ends_with_an_answer_when_the_server_ends[log",
    "cli/test_style.py::test_colours_say_nothing_that_words_do_not",
    "cli/test_transfers.py::test_up_elsewhere_says_how_other_commands_find_it",
    "cli/test_golden.py::test_what_the_library_recorded_of_other_weights_is_recorded_again",
    "cli/test_golden.py::test_a_push_that_is_killed_while_it_records_leaves_nothing_in_the_folder",
    "cli/test_golden.py::test_outputs_of_other_files_are_not_taken",
    "cli/test_merge.py::test_verify_waits_for_the_verdict",
    "cli/test_reports.py::test_an_allowed_version_has_four_reports",
    "client/test_cold_bound.py",
    "client/test_cold_pulls.py::test_it_is_stored_anew_once_however_often_a_channel_moves",
    "client/test_cold_pulls.py::test_what_is_within_the_bound_stays_as_it_is",
    "client/test_campaign.py::test_what_a_campaign_says_is_what_pushes_do",
    "client/test_healing.py::test_a_proof_that_was_under_way_does_not_hide_what_was_found_meanwhile",
    "client/test_proofs.py::test_what_a_revoked_key_proved_is_proven_by_somebody_else",
    "client/test_proofs.py::test_doubts_about_what_is_proven_come_behind_what_waits_to_be",
    "client/test_reencode.py::test_what_no_worker_could_do_without_the_base_is_queued_when_it_comes",
    "client/torch_archive/test_hostile.py::test_it_is_refused_as_a_plain_pickle[no end of values",
    "conformance/test_blob_store.py::TestS3::test_a_range_gives_exactly_its_bytes",
    "deploy/test_ci.py::test_a_gitlab_job_stops_a_bad_delta",
    "faults/test_clear_lines.py::test_a_file_system_of_the_server_that_is_full",
    "faults/test_linear.py::test_a_single_wrong_result_is_found_out",
    "fresh/test_found.py::test_a_delta_that_was_wrong_or_refused_is_right[blip_2",
    "fresh/test_found.py::test_a_delta_that_was_wrong_or_refused_is_right[bart",
    "fresh/test_third_set.py::test_a_delta_of_these_families_is_right_and_passes[llava",
    "fresh/test_third_set.py::test_a_delta_of_these_families_is_right_and_passes[qwen2_audio",
    "hub/test_drafts.py::test_what_is_in_a_version_is_staged_no_more",
    "hub/test_push.py::test_what_a_trainer_leaves_behind_is_never_sent",
    "hub/test_listing.py::test_a_tag_is_found_wherever_it_stands[postgresql",
    "integrations/test_first_batches.py",
    "architecture/test_architectures.py::test_the_renames_of_a_class_tell_its_names_in_memory[VideoMAEModel",
    "migrations/test_event_forms.py",
    "migrations/test_migrations.py::test_a_migrated_database_is_the_one_that_the_tables_describe[postgresql",
    "migrations/test_command.py::test_downgrade_asks_first_and_current_shows_where_it_went",
    "migrations/test_command.py::test_upgrade_takes_its_url_from_the_environment",
    "migrations/test_trail.py::test_rows_of_before_are_sealed_and_counted_apart[postgresql",
    "pages/test_measures.py::test_checks_and_labels_are_drawn_over_versions",
    "service/test_queue.py::test_one_run_is_served_among_the_first_although_many_were_queued_before",
    "service/test_stats.py::test_the_figures_agree_with_the_store_through_the_life_of_versions",
    "service/test_collected_pushes.py::test_a_collection_while_a_push_asks_what_is_there",
    "service/test_renames.py::test_a_former_name_leads_on_wherever_it_is_written[postgresql",
    "suites/test_drafting_sizes.py::test_as_many_samples_are_taken_as_a_power_calculation_gives",
    "suites/test_drafting_sizes.py::test_few_samples_widen_the_margin_so_that_healthy_versions_pass",
    "verify/test_asking.py::test_a_template_is_found_wherever_versions_bring_it",
    "verify/test_asking.py::test_what_ends_a_turn_ends_an_answer",
    "verify/test_asking.py::test_what_a_version_brings_to_cut_texts_by_is_what_it_is_asked_by",
    "verify/test_child.py::test_a_warm_run_does_not_pay_for_imports",
    "verify/test_delta_training.py::test_the_network_is_the_base_again",
    "verify/test_findings.py::test_the_command_line_waits_for_what_a_worker_finds",
    "verify/test_findings.py::test_a_comparison_says_what_the_command_line_does",
    "verify/test_generality.py::test_perplexities_are_those_of_a_verification",
    "verify/test_golden_by_library.py::test_recording_changes_nothing_of_a_training",
    "verify/test_golden_by_library.py::test_each_checkpoint_of_a_trainer_has_what_it_gave_then",
    "verify/test_process.py::test_what_is_accepted_is_in_the_verdict",
    "verify/test_stacked_base.py::test_a_version_on_a_version_is_examined_to_the_end",
    "verify/test_stacked_base.py::test_a_base_with_other_last_bits_is_the_same_fold",
    "verify/test_worker.py::test_an_outage_at_the_end_delays_the_verdict",
    "verify/test_worker.py::test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives[segfault",
    "verify/test_zygote.py::test_memory_that_is_eaten_is_the_childs_alone",
    "migrations/test_migrations.py::test_every_revision_goes_up_and_down_to_nothing",  # with rows, by each revision
    "migrations/test_migrations.py::test_the_release_before_finds_documents_written_out",
    "migrations/test_migrations.py::test_runs_of_kinds_that_a_release_does_not_know_go_on_the_way_down[postgresql",
    "migrations/test_migrations.py::test_a_server_refuses_a_database_of_another_revision[postgresql",
    "migrations/test_sign_ins.py::test_tokens_of_sign_ins_are_revoked_and_no_others[postgresql",
    "migrations/test_rules.py::test_policies_and_floors_lose_what_the_release_before_does_not_know_of_others[postgres",
    "migrations/test_rules.py::test_a_policy_loses_the_keys_of_rules_on_the_way_down[postgresql",
    "migrations/test_rules.py::test_exchanged_tokens_end_on_the_way_down_and_others_stay[postgresql",
    "migrations/test_held_before.py::test_who_made_the_first_token_of_a_script_stands_behind_it[postgresql",
    "migrations/test_base_identities.py::test_bases_get_an_identity_and_versions_and_verdicts_stay_with_theirs[postgres",
    "migrations/test_quotas.py::test_an_upgrade_counts_what_is_there[sqlite",
    "planted/third/test_third_set.py::test_a_handful_goes_through_smoke_as_it_is_expected_to",
    "planted/third/test_third_set.py::test_an_exact_match_is_what_greedy_decoding_writes",
    "planted/third/test_third_set.py::test_parts_of_a_task_share_no_row",
    "integrations/test_training_progress.py::test_each_checkpoint_says_how_far_it_is",
    "integrations/test_transformers.py::test_what_will_fail_in_any_case_ends_a_training_before_its_first_step",
    "docs/test_howtos.py::test_a_page_runs_from_top_to_bottom[approvals",
    "docs/test_howtos.py::test_a_page_runs_from_top_to_bottom[bases",
    "hub/test_push.py::test_what_became_of_each_commit_is_printed",
    "hub/test_push.py::test_the_same_push_again_is_no_other_version",
    "hub/test_push.py::test_a_semantic_version_is_a_tag_that_stays",
    "hub/test_listing.py::test_the_newest_comes_first_where_that_is_asked_for[postgresql",
    "hub/test_listing.py::test_a_deleted_version_is_not_listed[postgresql",
    "client/convert/test_mlx.py::test_there_and_back_again_is_the_same",
    "client/convert/test_gguf.py::test_there_and_back_again_is_the_same",
    "client/test_cold_pulls.py::test_a_cold_pull_fetches_what_push_and_show_say[sqlite-local-False",
    "client/test_references.py::test_a_run_of_checkpoints_is_stored_as_its_steps",
    "client/test_killed_reencodes.py",
    "client/test_ranges.py::test_a_cache_that_is_pruned_all_the_time_breaks_nothing",
    "client/torch_archive/test_hostile.py::test_it_is_refused_by_name[lists in lists",
    "cli/test_style.py::test_what_goes_well_is_said_in_few_lines",
    "cli/test_token_reach.py::test_no_worker_sends_it",
    "gate/test_outside_terms.py::test_two_lists_allow_what_both_allow",
    "verify/test_backtest.py::test_a_training_on_the_users_rows_is_judged_on_the_others",
    "verify/test_asking.py::test_a_chat_is_what_the_library_makes_of_it[in_folder",
    "verify/test_asking.py::test_a_question_that_nobody_has_answered_yet_is_waited_for_later",
    "verify/test_asking.py::test_a_classifier_names_its_classes_with_their_shares",
    "verify/test_process.py::test_no_token_shows_in_what_is_printed",  # `cli/test_token_reach.py` asks every command
    "verify/test_generality.py::test_versions_that_bring_heads_are_compared_and_say_why_nothing_is_general",
    "verify/test_generality.py::test_a_classifier_has_its_entropy_and_heads_that_the_base_lacks_are_told",
    "verify/test_written_checks.py::test_texts_of_one_length_are_written_together_as_the_library_writes_each",
    "verify/test_hostile_templates.py::test_a_template_that_never_ends_costs_half_a_run_once",
    "deploy/test_ci_promote.py::test_a_job_promotes_and_again_moves_nothing",  # the keyless job does
    "e2e/test_stacks.py::test_a_stack_has_four_versions_at_most",
    "e2e/test_stacks.py::test_a_version_is_named_in_any_way_that_names_one[@dev",
    "service/test_quota_counts.py::test_counts_are_those_of_a_plain_account[sqlite",
    "service/test_collect_races.py::test_after_all_deaths_collection_leaves_no_byte_without_a_row[sqlite",
    "service/test_damaged_registries.py::test_each_repair_heals_or_names_the_push_that_does[sqlite",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[passes with one undecided",
    "verify/test_descent.py::test_what_one_training_left_passes_in_any_precision",  # the planted sets do
    "pages/test_pages.py::test_what_is_shown_at_a_glance_is_found_by_the_other_database",
    "cli/test_references.py::test_every_command_takes_every_reference",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[is for another base",
    "api/test_ways_to_prod.py::test_each_way_goes_where_the_page_says_so[has one that failed, waived, and checks",
    "api/test_one_up.py::test_a_second_up_leaves_the_first_alone",
    "api/test_openapi.py::test_answers_are_as_described",
    "suites/test_drafting_sizes.py::test_margins_grow_with_what_healthy_versions_once_lost",
    "telling/test_webhooks.py::test_several_processes_at_once_deliver_each_event_in_its_order[sqlite",
    "api/test_matrix.py::test_nobody_gets_past_it_by_a_group_a_script_or_another_token",
    "hostile/test_hostile_people.py::test_nobody_who_comes_near_succeeds",
    "scale/test_fill.py",  # plans and counts of statements stay
    "cli/test_explain.py::test_every_command_that_is_mentioned_exists",
    "api/test_forged_promotions.py::test_reports_that_are_not_in_order_are_refused[30",
    "observability/test_traces.py::test_nothing_of_it_is_loaded_without_being_asked_for",  # a contract of imports does
    "migrations/test_planning.py::test_a_plan_names_what_changes_with_its_rows_and_changes_nothing",
    "migrations/test_finishing.py::test_an_upgrade_is_finished_once_no_older_server_is_left[postgresql",
    *(f"service/test_operations.py::test_another_goes_on_for_one_that_was_killed[sqlite-{n}" for n in (1, 2, 4, 5)),
    "service/test_retention.py::test_two_servers_at_once_delete_each_version_once[postgresql",
    "client/test_mirrors.py::test_a_bundle_brings_the_same_without_a_network",
    "pool/test_pool.py::test_a_run_counts_for_the_pools_that_it_fits_until_a_worker_of_one_holds_it",
    "service/test_knowledge.py::test_a_server_leaves_the_runs_of_a_later_release_to_it",
    "observability/test_requests.py::test_nobody_makes_series_by_making_things",
    "observability/test_doctor.py::test_a_bundle_has_no_secret_of_the_server[False",
)

# Of long tables of cases that differ little, each fifth is tried; the soak tries all.
ONE_IN_FIVE = (
    "e2e/test_stacks.py::test_a_version_is_named_in_any_way_that_names_one",
    "client/test_base_identity.py::",
    "service/test_superseding.py::",
    "api/test_authz.py::",
    "api/test_forgery.py::test_a_forged_manifest",
    "api/test_forgery.py::test_a_forged_storage_map",
    "client/convert/test_extract.py::test_what_peft_makes_of_it_is_as_far_from_the_fine_tune_as_was_stated",
    "client/convert/test_extract.py::test_with_all_of_it_kept_it_is_the_fine_tune_but_for_what_is_named",
    "client/test_faults.py::test_a_pull_is_whole",
    "client/test_merge.py::test_a_merge_equals_its_formula_in_float64",
    "client/test_report_pages.py::test_a_page_fits_and_asks_no_network",
    "codec/test_chunk_codecs.py::test_the_largest_chunk_comes_back",
    "delta/kinds/test_lora_against_peft.py::test_a_fold_is_what_the_library_merges",
    "delta/kinds/test_lora_family_against_peft.py::test_a_fold_is_what_the_library_merges",
    "delta/kinds/test_nested_names.py::test_names_are_taken_exactly_where_the_library_finds_them",
    "delta/kinds/test_rare_peft_kinds.py::test_a_fold_is_what_the_library_merges",
    "delta/kinds/test_ties_against_peft.py::test_a_folded_folder_answers_like_the_library",
    "delta/merging/test_corpus.py::test_a_real_delta_alone_is_itself_and_less_itself_the_base",
    "delta/names/test_against_transformers.py::test_names_of_other_architectures_are_those_of_the_network",
    "hub/test_client.py::test_a_snapshot_is_what_was_pushed",
    "locks/test_lock.py::test_every_direct_dependency_is_locked_in_a_version_that_fits",
    "migrations/test_migrations.py::test_an_append_only_table_refuses_changes",
    "pages/test_downloads.py::test_a_list_is_taken_away_as_csv",
    "pages/test_escaping.py::test_what_an_address_says_stays_text",
    "pages/test_escaping.py::test_what_others_wrote_stays_text",
    "pages/test_every_route.py::",
    "pages/test_written.py::test_what_is_wrong_is_told_at_its_line_and_what_was_written_stays",
    "service/test_authority.py::test_a_member_of_the_namespace_is_not_kept_out",
    "service/test_authority.py::test_what_is_hidden_reads_as_what_is_not_there",
    "service/test_authority.py::test_what_lies_in_another_namespace_is_not_found",
    "service/test_forged_moves.py::test_what_is_in_order_is_taken",
    "service/test_waivers.py::test_what_cannot_be_waived_is_refused",
    "trail/test_mutations.py::test_whatever_the_owner_of_the_database_edits_is_found",
    "verify/test_activated.py::test_logits_are_the_librarys",
    "verify/test_adapters_library.py::test_an_adapter_computes_what_it_does_in_the_library",
    "verify/test_attached_corpus.py::",
    "verify/test_corpus.py::",
    "verify/test_cross_attention.py::test_it_is_where_a_layer_written_by_hand_has_it",
    "verify/test_engine.py::test_a_healthy_delta_passes_the_smoke_suite",
    "verify/test_probe_processors.py::test_pictures_are_as_the_processor_makes_them",
    "verify/test_worker.py::test_a_failed_check_makes_it_fail",
    "verify/test_worker.py::test_a_required_check_that_was_skipped_makes_it_inconclusive",
)


def leave_to_soak(items):
    """Leave to the soak what is shown elsewhere, and of long tables four cases in five."""
    tables = Counter[str]()
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        if name.startswith(ONE_IN_FIVE) and item.get_closest_marker("soak") is None:
            table = name.partition("[")[0]
            if tables[table] % 5:
                item.add_marker(pytest.mark.soak)
            tables[table] += 1
        if name.startswith(SHOWN_ELSEWHERE):
            item.add_marker(pytest.mark.soak)
    leave_twins_to_soak(items)


def leave_twins_to_soak(items):
    """Leave to the soak what is asked of PostgreSQL again although no statement decides it.

    Of each sixth file one test stays, in the place of its twin on SQLite, and with it what several
    do at once: the first on PostgreSQL of a file takes seconds, for its beginning.
    """
    twins: set[str] = set()
    asked = {item.path for item in items if "postgresql" in item.name}
    seen = {path for number, path in enumerate(sorted(asked)) if number % 6}
    for item in items:
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
