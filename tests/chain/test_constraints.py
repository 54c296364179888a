from rddg_ray.constraints import Rules


def test_rules_are_empty_until_a_model_wrote_some() -> None:
    assert Rules() == Rules(text="", verdicts=(), unreadable=(), shown="")
    assert (Rules().kept, Rules().dropped) == ((), ())
