"""The registry's own forms of events pass the tests that it ships for those of others."""

from deltareg.service.telling.forms.cloudevents import FORM as CLOUDEVENTS
from deltareg.service.telling.forms.slack import FORM as SLACK
from deltareg.service.telling.forms.teams import FORM as TEAMS
from deltareg.testing import FormTests


class TestCloudEvents(FormTests):
    form = CLOUDEVENTS


class TestSlack(FormTests):
    form = SLACK


class TestTeams(FormTests):
    form = TEAMS
