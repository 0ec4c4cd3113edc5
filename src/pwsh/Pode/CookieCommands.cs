using System;
using System.Collections;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A command on one cookie.</summary>
public abstract class CookieCommand : PodeCommand
{
    /// <summary>The cookie.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <summary>Cookies that the response sets.</summary>
    protected static IDictionary Pending => (IDictionary)PlainJson.Bare(WebEvent.Required["PendingCookies"])!;

    /// <summary>A cookie of the request; one without a value is none.</summary>
    protected IDictionary? Sent =>
        PlainJson.Bare(((IDictionary)PlainJson.Bare(WebEvent.Required["Cookies"])!)[Name]) is IDictionary cookie
        && !string.IsNullOrWhiteSpace(PlainJson.Text(cookie["Value"])) ? cookie : null;

    /// <summary>One that is set already, or came with the request.</summary>
    protected IDictionary? SetOrSent => PlainJson.Bare(Pending[Name]) as IDictionary ?? Sent;
}

/// <summary>Sets a cookie on the response.</summary>
/// <example>Set-PodeCookie -Name 'theme' -Value 'dark' -Duration 3600 -HttpOnly</example>
[Cmdlet(VerbsCommon.Set, "PodeCookie", DefaultParameterSetName = "Duration")]
public sealed class SetPodeCookieCommand : CookieCommand
{
    private static readonly System.Buffers.SearchValues<char> NotInName = System.Buffers.SearchValues.Create("=;,\"");

    /// <summary>Its value.</summary>
    [Parameter(Position = 1)]
    [AllowEmptyString]
    public string? Value { get; set; }

    /// <summary>For how many seconds it is kept.</summary>
    [Parameter(ParameterSetName = "Duration")]
    public int Duration { get; set; }

    /// <summary>Until when it is kept.</summary>
    [Parameter(ParameterSetName = "ExpiryDate")]
    public DateTime ExpiryDate { get; set; }

    /// <summary>Not for the page's scripts.</summary>
    [Parameter]
    public SwitchParameter HttpOnly { get; set; }

    /// <summary>To be forgotten.</summary>
    [Parameter]
    public SwitchParameter Discard { get; set; }

    /// <summary>Over https only.</summary>
    [Parameter]
    public SwitchParameter Secure { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        bool named = Name.Length > 0 && Name.AsSpan().IndexOfAny(NotInName) < 0 && !Array.Exists(Name.ToCharArray(), c => c < ' ' || char.IsWhiteSpace(c));
        if (!named)
        {
            throw new BridgeException("CookieName", $"'{Name}' is no name of a cookie");
        }
        string value = Value ?? "";
        if (value.AsSpan().IndexOfAny(";\r\n\0") >= 0)
        {
            throw new BridgeException("CookieValue", $"the value of the cookie '{Name}' has a character that ends it");
        }
        Hashtable cookie = Cookies.Make(Name, value);
        cookie["Expires"] = Duration > 0 ? DateTime.UtcNow.AddSeconds(Duration) : Has(nameof(ExpiryDate)) ? ExpiryDate.ToUniversalTime() : null;
        cookie["Discard"] = Discard.ToBool();
        cookie["HttpOnly"] = HttpOnly.ToBool();
        cookie["Secure"] = Secure.ToBool();
        Pending[Name] = cookie;
        WriteObject(cookie);
    }
}

/// <summary>A cookie of the request; one without a value is none.</summary>
/// <example>(Get-PodeCookie -Name 'theme').Value</example>
[Cmdlet(VerbsCommon.Get, "PodeCookie")]
public sealed class GetPodeCookieCommand : CookieCommand
{
    /// <summary>Taken for Pode's sake.</summary>
    [Parameter]
    public SwitchParameter Raw { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        if (Sent is IDictionary cookie)
        {
            WriteObject(cookie);
        }
    }
}

/// <summary>The value of a cookie of the request.</summary>
/// <example>$theme = Get-PodeCookieValue -Name 'theme'</example>
[Cmdlet(VerbsCommon.Get, "PodeCookieValue")]
public sealed class GetPodeCookieValueCommand : CookieCommand
{
    /// <inheritdoc/>
    protected override void End()
    {
        if (Sent is IDictionary cookie)
        {
            WriteObject(cookie["Value"]);
        }
    }
}

/// <summary>Tells whether the request has a cookie.</summary>
/// <example>if (-not (Test-PodeCookie -Name 'theme')) { Set-PodeCookie -Name 'theme' -Value 'light' }</example>
[Cmdlet(VerbsDiagnostic.Test, "PodeCookie")]
[OutputType(typeof(bool))]
public sealed class TestPodeCookieCommand : CookieCommand
{
    /// <inheritdoc/>
    protected override void End() => WriteObject(Sent is not null);
}

/// <summary>Makes the client forget a cookie.</summary>
/// <example>Remove-PodeCookie -Name 'theme'</example>
[Cmdlet(VerbsCommon.Remove, "PodeCookie")]
public sealed class RemovePodeCookieCommand : CookieCommand
{
    /// <inheritdoc/>
    protected override void End()
    {
        if (SetOrSent is IDictionary cookie)
        {
            cookie["Discard"] = true;
            cookie["Expires"] = DateTime.UtcNow.AddDays(-2);
            Pending[Name] = cookie;
        }
    }
}

/// <summary>Gives a cookie a new end.</summary>
/// <example>Update-PodeCookieExpiry -Name 'theme' -Duration 3600</example>
[Cmdlet(VerbsData.Update, "PodeCookieExpiry", DefaultParameterSetName = "Duration")]
public sealed class UpdatePodeCookieExpiryCommand : CookieCommand
{
    /// <summary>For how many seconds from now.</summary>
    [Parameter(ParameterSetName = "Duration")]
    public int Duration { get; set; }

    /// <summary>Until when.</summary>
    [Parameter(ParameterSetName = "ExpiryDate")]
    public DateTime ExpiryDate { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        if (SetOrSent is not IDictionary cookie)
        {
            return;
        }
        if (Duration > 0)
        {
            cookie["Expires"] = DateTime.UtcNow.AddSeconds(Duration);
        }
        else if (Has(nameof(ExpiryDate)))
        {
            cookie["Expires"] = ExpiryDate.ToUniversalTime();
        }
        Pending[Name] = cookie;
        WriteObject(cookie);
    }
}
