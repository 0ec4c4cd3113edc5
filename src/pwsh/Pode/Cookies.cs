using System;
using System.Collections;
using System.Management.Automation;
using System.Text;

namespace SecretBridge.Pode;

/// <summary>Cookies as the tables that Pode's scripts know.</summary>
public static class Cookies
{
    /// <summary>A cookie with nothing set.</summary>
    public static Hashtable Make(string name, string value)
    {
        Hashtable cookie = Values.NewTable();
        cookie["Name"] = name;
        cookie["Value"] = value;
        cookie["Expires"] = null;
        cookie["Discard"] = cookie["HttpOnly"] = cookie["Secure"] = false;
        cookie["Path"] = "/";
        return cookie;
    }

    /// <summary>Those of a request's header.</summary>
    public static Hashtable Read(string header)
    {
        Hashtable cookies = Values.NewTable();
        foreach (string pair in header.Split(';'))
        {
            int cut = pair.IndexOf('=');
            string name = (cut < 0 ? pair : pair[..cut]).Trim();
            if (name.Length > 0)
            {
                cookies[name] = Make(name, cut < 0 ? "" : pair[(cut + 1)..].Trim());
            }
        }
        return cookies;
    }

    /// <summary>The value of a `Set-Cookie` header.</summary>
    public static string Write(IDictionary cookie)
    {
        StringBuilder text = new($"{cookie["Name"]}={cookie["Value"]}");
        foreach (string flag in new[] { "Discard", "HttpOnly", "Secure" })
        {
            if (LanguagePrimitives.IsTrue(cookie[flag]))
            {
                text.Append("; ").Append(flag);
            }
        }
        text.Append("; Path=/");
        if (PlainJson.Bare(cookie["Expires"]) is object end)
        {
            DateTime expires = LanguagePrimitives.ConvertTo<DateTime>(end).ToUniversalTime();
            text.Append("; Max-Age=").Append(Math.Max(0, (long)Math.Round((expires - DateTime.UtcNow).TotalSeconds)));
        }
        return text.ToString();
    }
}
